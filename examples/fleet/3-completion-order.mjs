// Results come as they are ready, each with its id, its latency and what it has cost. `order: 'submission'`
// gives them as they were handed in.
import process from 'node:process'
import { Fleet } from 'headgate/fleet'

await using fleet = new Fleet({
  baseUrl: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4010',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
})

const payloads = [400, 200, 20].map((tokens) => ({
  id: `${tokens}-tokens`,
  params: {
    model: 'claude-sonnet-5',
    max_tokens: 500,
    messages: [{ role: 'user', content: `Write a little. [[emulate output=${tokens}]]` }],
  },
}))

for await (const result of fleet.dispatch(payloads))
  if (result.kind === 'answered')
    process.stdout.write(
      `${result.id}: ${Math.round(result.latencyMs)} ms, ${result.costUsd} USD\n`,
    )
