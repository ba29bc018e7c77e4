// Forty prompts, never more than eight at once: the ninth is taken from the list when the first is answered.
import process from 'node:process'
import { Fleet } from 'headgate/fleet'

const fleet = new Fleet({
  baseUrl: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4010',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  maxInFlight: 8,
})

function* payloads() {
  for (let essay = 1; essay <= 40; essay++)
    yield {
      model: 'claude-sonnet-5',
      max_tokens: 50,
      // The emulator answers with as many tokens as the marker says.
      messages: [{ role: 'user', content: `Grade essay ${essay}. [[emulate output=20]]` }],
    }
}

let answered = 0
for await (const result of fleet.dispatch(payloads())) if (result.kind === 'answered') answered++
process.stdout.write(`${answered} answered\n`)
await fleet.close()
