// How many are under way at once is worked out from what answers take and what the limits allow, and told with
// its arithmetic each time that it changes.
import process from 'node:process'
import { Fleet } from 'headgate/fleet'

await using fleet = new Fleet({
  baseUrl: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4010',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  maxInFlight: 'auto',
  onEvent: (event) => {
    if (event.kind === 'in_flight')
      process.stdout.write(`${event.chosen} at once: ${event.because}\n`)
  },
})

const payloads = Array.from({ length: 45 }, (_, index) => ({
  model: 'claude-sonnet-5',
  max_tokens: 50,
  messages: [{ role: 'user', content: `Grade essay ${index + 1}. [[emulate output=20]]` }],
}))

let answered = 0
for await (const result of fleet.dispatch(payloads)) if (result.kind === 'answered') answered++
process.stdout.write(`${answered} answered\n`)
