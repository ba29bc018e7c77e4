// Bob (tier free) sends a batch of 200 requests, then Carol (pro) fifteen and Alice (premium) fifteen: Alice
// is served first and Carol next, whatever waits before them. What the line can't drain within 30 seconds is
// refused, most of it at once.
import process from 'node:process'
import Anthropic, { RateLimitError } from '@anthropic-ai/sdk'

const client = new Anthropic({
  baseURL: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4000',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  maxRetries: 0,
})

/** Returns how many seconds the request waited, or null where it was refused. */
async function ask(user) {
  try {
    const { response } = await client.messages
      .create(
        {
          model: 'claude-haiku-4-5',
          max_tokens: 5,
          messages: [{ role: 'user', content: 'Say hello.' }],
        },
        { headers: { 'x-headgate-user': user } },
      )
      .withResponse()
    return Number(response.headers.get('x-headgate-queued-ms')) / 1000
  } catch (error) {
    if (!(error instanceof RateLimitError)) throw error
    return null
  }
}

const askOften = (user, times) => Array.from({ length: times }, () => ask(user))

const free = askOften('bob', 200)
// Once the first has passed, the line stands.
await Promise.race(free)
const pro = askOften('carol', 15)
const premium = askOften('alice', 15)

for (const [tier, asked] of Object.entries({ premium, pro, free })) {
  const all = await Promise.all(asked)
  const waits = all.filter((waited) => waited !== null)
  const longest = Math.max(...waits).toFixed(1)
  const refused = all.length - waits.length
  process.stdout.write(
    `${tier.padEnd(8)} ${waits.length} answered, the last after ${longest} s; ${refused} refused\n`,
  )
}
