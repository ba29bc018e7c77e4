// Alice (tier free) sends eight requests at once: her bucket holds five, and the rest meet the SDK's own
// RateLimitError, which says when there is room. Carol (tier pro) does not notice.
import process from 'node:process'
import Anthropic, { RateLimitError } from '@anthropic-ai/sdk'

const client = new Anthropic({
  baseURL: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4000',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  // To show the refusals: by itself the SDK waits as long as they say, and sends again.
  maxRetries: 0,
})

async function ask(user) {
  try {
    const { response } = await client.messages
      .create(
        {
          model: 'claude-haiku-4-5',
          max_tokens: 20,
          messages: [{ role: 'user', content: 'Say hello.' }],
        },
        { headers: { 'x-headgate-user': user } },
      )
      .withResponse()
    return `${user}: answered, ${response.headers.get('x-ratelimit-remaining')} left`
  } catch (error) {
    if (!(error instanceof RateLimitError)) throw error
    return `${user}: refused, room in ${error.headers.get('retry-after')} s`
  }
}

const users = [...Array(8).fill('alice'), 'carol']
const lines = await Promise.all(users.map(ask))
process.stdout.write(`${lines.join('\n')}\n`)
