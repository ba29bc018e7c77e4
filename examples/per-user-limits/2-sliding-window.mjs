// Carol (tier free) sends six requests to each of two gateways that share a Redis: together ten of the
// twelve pass. The gateways' addresses are the arguments.
import process from 'node:process'
import Anthropic, { RateLimitError } from '@anthropic-ai/sdk'

const [first = 'http://127.0.0.1:4000', second = 'http://127.0.0.1:4001'] = process.argv.slice(2)

async function ask(baseURL) {
  const client = new Anthropic({
    baseURL,
    apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
    maxRetries: 0,
    defaultHeaders: { 'x-headgate-user': 'carol' },
  })
  try {
    await client.messages.create({
      model: 'claude-haiku-4-5',
      max_tokens: 20,
      messages: [{ role: 'user', content: 'Say hello.' }],
    })
    return 'answered'
  } catch (error) {
    if (!(error instanceof RateLimitError)) throw error
    return 'refused'
  }
}

const gateways = Array.from({ length: 12 }, (_, index) => (index % 2 === 0 ? first : second))
const outcomes = await Promise.all(gateways.map(ask))
for (const outcome of ['answered', 'refused']) {
  const count = outcomes.filter((one) => one === outcome).length
  process.stdout.write(`${count} ${outcome}\n`)
}
