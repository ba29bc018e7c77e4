// A file with a prompt on each line, in the forms that `headgate run` takes. It is read a line at a time, however
// long it is: no more prompts are in memory than are under way.
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { Fleet, readPayloads } from 'headgate/fleet'

await using fleet = new Fleet({
  baseUrl: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4010',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  order: 'submission',
})

const file = process.argv[2] ?? fileURLToPath(new URL('prompts.jsonl', import.meta.url))
for await (const result of fleet.dispatch(readPayloads(file)))
  if ('id' in result) process.stdout.write(`${result.id}: ${result.kind}\n`)
