// A part of the tokens stays for others: under the soft floor the job slows down to half of what refills, under
// the hard floor it stops. Prints how little was left at the worst. Here the fleet stands in the line of a gate
// that the program has, so that the program can look at it.
import process from 'node:process'
import { createGate } from 'headgate'
import { Fleet } from 'headgate/fleet'

const gate = await createGate({
  providers: { anthropic: { floors: { soft: 20_000, hard: 2000 } } },
})
const fleet = new Fleet({
  baseUrl: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4010',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  gate,
})

const essay = 'The river rises in spring, and the gate at the top decides who gets water. '.repeat(
  45,
)
const payloads = Array.from({ length: 20 }, (_, index) => ({
  id: `essay-${index + 1}`,
  params: {
    model: 'claude-sonnet-5',
    max_tokens: 50,
    messages: [{ role: 'user', content: `Grade this: ${essay} [[emulate output=20]]` }],
  },
}))

let answered = 0
let least = Number.POSITIVE_INFINITY
for await (const { kind } of fleet.dispatch(payloads)) {
  if (kind === 'answered') answered++
  for (const { limits } of await gate.snapshot())
    for (const { dimension, remaining } of limits)
      if (dimension === 'input_tokens') least = Math.min(least, Math.round(remaining))
}
process.stdout.write(`${answered} answered, at least ${least} input tokens were left at any time\n`)
await fleet.close()
await gate.close()
