"""Asks the provider itself, each time with a lease: for SECONDS_TO_WORK, as FLOW in LANE."""

import json
import os
import sys
import time
import urllib.request

from lease import lease

PROVIDER = os.environ.get("PROVIDER_URL", "http://127.0.0.1:4010")
BODY = {
    "model": "claude-sonnet-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "word " * 2000}],
}
HEADERS = {
    "x-api-key": os.environ.get("ANTHROPIC_API_KEY", "any"),
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
}


def ask():
    request = urllib.request.Request(
        f"{PROVIDER}/v1/messages", json.dumps(BODY).encode(), HEADERS, method="POST"
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["usage"]


stop_at = time.time() + float(os.environ.get("SECONDS_TO_WORK", "10"))
answered = 0
while time.time() < stop_at:
    with lease(
        os.environ.get("RESOURCE", "anthropic/claude-sonnet-5"),
        load={"input_tokens": 2010, "output_tokens": 20},
        flow=os.environ.get("FLOW", "python"),
        lane=os.environ.get("LANE", "normal"),
    ) as held:
        usage = ask()
        held.actual = {key: usage[key] for key in ("input_tokens", "output_tokens")}
        answered += 1
sys.stdout.write(f"{answered}\n")
