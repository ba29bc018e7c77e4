// Alice (tier pro) may ask for long answers. For Bob (tier free) they are too large, and his hour's tokens
// are gone after a few shorter ones.
import process from 'node:process'
import Anthropic, { APIError } from '@anthropic-ai/sdk'

const client = new Anthropic({
  baseURL: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4000',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  maxRetries: 0,
})

/** Returns whether there was an answer. */
async function ask(user, max_tokens) {
  try {
    const { usage } = await client.messages.create(
      {
        model: 'claude-haiku-4-5',
        max_tokens,
        // The emulator answers with as many tokens as the marker says.
        messages: [{ role: 'user', content: 'Explain rivers. [[emulate output=1400]]' }],
      },
      { headers: { 'x-headgate-user': user } },
    )
    const used = usage.input_tokens + usage.output_tokens
    process.stdout.write(`${user} asks for ${max_tokens}: used ${used} tokens\n`)
    return true
  } catch (error) {
    if (!(error instanceof APIError)) throw error
    const why = error.error.error.message
    process.stdout.write(`${user} asks for ${max_tokens}: ${error.status}, ${why}\n`)
    return false
  }
}

await ask('alice', 8000)
await ask('bob', 8000)
while (await ask('bob', 1500));
