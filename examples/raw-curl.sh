#!/bin/sh
# One request with curl. The answer's headers say what Headgate did: x-headgate-queued-ms is how long
# the request waited for its turn. A request that could not pass within 30 s is refused at once.
set -eu
curl --silent --show-error --fail-with-body --include \
  "${ANTHROPIC_BASE_URL:-http://127.0.0.1:4000}/v1/messages" \
  --header "x-api-key: ${ANTHROPIC_API_KEY:-any}" \
  --header 'anthropic-version: 2023-06-01' \
  --header 'content-type: application/json' \
  --header 'x-headgate-flow: raw-curl' \
  --header 'x-headgate-max-wait: 30s' \
  --data '{
    "model": "claude-sonnet-5",
    "max_tokens": 50,
    "messages": [{ "role": "user", "content": "Say hello in one sentence." }]
  }'
echo
