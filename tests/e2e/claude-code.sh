#!/bin/sh
# Runs the real Claude Code against the emulator through a gateway. See claude-code.md.
set -eu
version=2.1.330
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$root/.cache/claude-code-$version
if [ ! -x "$folder/node_modules/.bin/claude" ]; then
  mkdir -p "$folder"
  # Alone in its folder: it is large, has terms of its own, and is no dependency of ours.
  echo '{"private":true}' >"$folder/package.json"
  npm install --prefix "$folder" --no-audit --no-fund "@anthropic-ai/claude-code@$version"
fi
exec "$root/node_modules/.bin/node" "$root/tests/e2e/claude-code.ts" "$folder/node_modules/.bin/claude"
