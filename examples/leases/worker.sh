#!/bin/sh
# Asks the provider itself, each time with a lease: for SECONDS_TO_WORK, as FLOW in LANE. Needs curl.
set -eu
leases="${HEADGATE_URL:-http://127.0.0.1:4000}/headgate/v1/leases"
provider="${PROVIDER_URL:-http://127.0.0.1:4010}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

words=$(awk 'BEGIN { while (i++ < 2000) printf "word " }')
cat >"$folder/ask" <<END
{"resource": "${RESOURCE:-anthropic/claude-sonnet-5}", "flow": "${FLOW:-curl}", "lane": "${LANE:-normal}",
 "load": {"input_tokens": 2010, "output_tokens": 20}}
END
cat >"$folder/request" <<END
{"model": "claude-sonnet-5", "max_tokens": 20, "messages": [{"role": "user", "content": "$words"}]}
END

post() { # URL FILE
  curl -sS --fail-with-body "$1" -H 'content-type: application/json' -d "@$2"
}

stop_at=$(($(date +%s) + ${SECONDS_TO_WORK:-10}))
answered=0
while [ "$(date +%s)" -lt "$stop_at" ]; do
  id=$(post "$leases" "$folder/ask" | sed 's/.*"id":"\([^"]*\)".*/\1/')
  usage=$(curl -sS --fail-with-body "$provider/v1/messages" -H 'content-type: application/json' \
    -H "x-api-key: ${ANTHROPIC_API_KEY:-any}" -H 'anthropic-version: 2023-06-01' -d "@$folder/request" |
    sed 's/.*"input_tokens":\([0-9]*\).*"output_tokens":\([0-9]*\).*/{"actual": {"input_tokens": \1, "output_tokens": \2}}/')
  printf %s "$usage" >"$folder/usage"
  post "$leases/$id/settle" "$folder/usage" >"$folder/settled"
  answered=$((answered + 1))
done
echo "$answered"
