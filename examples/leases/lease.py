"""Leases from Headgate with nothing but Python's standard library.

    with lease("anthropic-claude", load=15_000, lane="low") as held:
        ...                                     # the work
        held.actual = {"input_tokens": 9_000, "output_tokens": 700}

Waits for its turn, keeps the lease alive during the work, and settles it at the end: with `actual`
where the work says it, else with what was asked for.
"""

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager

URL = os.environ.get("HEADGATE_URL", "http://127.0.0.1:4000") + "/headgate/v1"
KEY = os.environ.get("HEADGATE_KEY")


class Refused(Exception):
    """The gate said no. `problem` says why, as RFC 9457 has it: status, reason, detail, errors."""

    def __init__(self, problem):
        super().__init__(problem["detail"])
        self.problem = problem


class Unreachable(OSError):
    """No gate answers now: asking again may help."""

    def __init__(self, why, retry_after=0.2):
        super().__init__(why)
        self.retry_after = retry_after


def call(method, path, body=None, headers=None, timeout=60):
    """Asks the gate. Raises Refused for its no, OSError when it cannot be reached."""
    headers = {"Content-Type": "application/json", **(headers or {})}
    if KEY:
        headers["Authorization"] = f"Bearer {KEY}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        problem = problem_of(error)
        # A gate that stops, or a proxy without a gate behind it.
        if error.code >= 500 or problem is None:
            wait = (problem or {}).get("retryAfterMs", 200) / 1000
            raise Unreachable(f"answered with {error.code}", wait) from None
        raise Refused(problem) from None
    except http.client.HTTPException as error:
        raise Unreachable(str(error)) from error


def problem_of(error):
    try:
        problem = json.load(error)
    except ValueError:
        return None
    return problem if isinstance(problem, dict) and "detail" in problem else None


def insist(method, path, body=None, headers=None, unreachable_after=15, timeout=60):
    """As `call`, over a restart of the gate: what is asked twice counts once."""
    headers = dict(headers or {})
    give_up_at = time.monotonic() + unreachable_after
    while True:
        try:
            return call(method, path, body, headers, timeout)
        except OSError as error:
            # One that took its time was in line: only a gate that is gone counts.
            if isinstance(getattr(error, "reason", error), TimeoutError):
                give_up_at = time.monotonic() + unreachable_after
            elif time.monotonic() > give_up_at:
                raise
            headers["X-Headgate-Resume"] = "1"
            time.sleep(getattr(error, "retry_after", 0.2))


class Held:
    def __init__(self, document):
        self.id = document["id"]
        self.waited_ms = document["waitedMs"]
        self.ttl = document["ttlMs"] / 1000
        self.actual = None
        self.lost = threading.Event()
        self._done = threading.Event()

    def keep_alive(self):
        while not self._done.wait(self.ttl / 3):
            try:
                insist("POST", f"/leases/{self.id}/renew", {}, unreachable_after=self.ttl / 3)
            except (Refused, OSError):
                self.lost.set()
                return

    def end(self):
        self._done.set()
        body = {} if self.actual is None else {"actual": self.actual}
        try:
            insist("POST", f"/leases/{self.id}/settle", body)
        except Refused as refused:
            # It had ended before: it expired, or an answer to this was lost.
            if refused.problem["status"] != 404:
                raise


@contextmanager
def lease(resource, load=0, **wishes):
    """`wishes`: lane, flow, maxWaitMs, ttlMs."""
    asked = {"resource": resource, "load": load, **wishes}
    held = Held(insist("POST", "/leases", asked, {"Idempotency-Key": str(uuid.uuid4())}))
    threading.Thread(target=held.keep_alive, daemon=True).start()
    try:
        yield held
    finally:
        held.end()
