// Twelve large requests stand in line in the lane "low"; then one in "critical" comes, and passes
// those that still wait. Prints the order in which they are answered. Meant for the emulator: twelve
// times 5,000 input tokens are two minutes of its limit.
import process from 'node:process'
import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic({
  baseURL: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4000',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
})

async function ask(name, lane, content) {
  const { response } = await client.messages
    .create(
      { model: 'claude-sonnet-5', max_tokens: 20, messages: [{ role: 'user', content }] },
      { headers: { 'x-headgate-lane': lane } },
    )
    .withResponse()
  const queuedMs = Number(response.headers.get('x-headgate-queued-ms'))
  process.stdout.write(`${name.padEnd(12)} waited ${(queuedMs / 1000).toFixed(1)} s\n`)
}

const large = 'word '.repeat(5000)
const batch = Array.from({ length: 12 }, (_, index) => ask(`low ${index + 1}`, 'low', large))

// Once the first is answered, the line stands.
await Promise.race(batch)
await ask('critical', 'critical', 'Say hello.')
await Promise.all(batch)
