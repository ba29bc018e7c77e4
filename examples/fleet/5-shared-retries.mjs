// What fails is sent again: so often for each prompt, and so often a minute for all together. What a failed
// attempt may have cost is told, and counted. One of these prompts never succeeds: it ends with its reason.
import process from 'node:process'
import { Fleet } from 'headgate/fleet'

await using fleet = new Fleet({
  baseUrl: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4010',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  retries: { perPayload: 2, perMinute: 20 },
  onEvent: (event) => {
    if (event.kind !== 'attempt_failed') return
    const cost = (event.costNanoUsd ?? 0) / 1e9
    const next = event.retryAt === null ? 'given up' : 'sent again'
    process.stdout.write(`${event.id}: ${event.error.type}, at most ${cost} USD, ${next}\n`)
  },
})

// The emulator answers with what is no JSON where the marker says so.
const payloads = ['fine', 'broken', 'fine-too'].map((id) => ({
  id,
  params: {
    model: 'claude-sonnet-5',
    max_tokens: 100,
    messages: [
      {
        role: 'user',
        content: `Grade this. [[emulate output=20 fault=${id === 'broken' ? 'garbage' : 'none'}]]`,
      },
    ],
  },
}))

for await (const result of fleet.dispatch(payloads)) {
  if (result.kind === 'answered') process.stdout.write(`${result.id}: answered\n`)
  if (result.kind === 'failed')
    process.stdout.write(
      `${result.id}: failed after ${result.attempts} attempts, ${result.error.type}\n`,
    )
}
