// A bound on what the job may spend. Before a prompt is sent, the most that it can cost is set aside; when there
// is no such sum left and nothing is under way, the marker comes last.
import process from 'node:process'
import { Fleet } from 'headgate/fleet'

await using fleet = new Fleet({
  baseUrl: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4010',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  maxSpendUsd: 0.01,
})

const payloads = Array.from({ length: 1000 }, (_, index) => ({
  model: 'claude-haiku-4-5',
  max_tokens: 200,
  messages: [{ role: 'user', content: `Grade essay ${index + 1}. [[emulate output=100]]` }],
}))

let answered = 0
for await (const result of fleet.dispatch(payloads)) {
  if (result.kind === 'answered') answered++
  if (result.kind === 'budget_exceeded')
    process.stdout.write(
      `${answered} answered for ${result.spentNanoUsd / 1e9} of ${result.maxSpendUsd} USD\n`,
    )
}
