// Alice (tier free) asks until her month's three cents are spent. From 80 per cent on the answers carry a
// warning; what the budget cannot bear is refused with 402, before it is sent.
import process from 'node:process'
import Anthropic, { APIError } from '@anthropic-ai/sdk'

const client = new Anthropic({
  baseURL: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4000',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
  defaultHeaders: { 'x-headgate-user': 'alice' },
})

/** Returns whether there was an answer. */
async function ask() {
  try {
    const { response } = await client.messages
      .create({
        model: 'claude-haiku-4-5',
        max_tokens: 500,
        // The emulator answers with as many tokens as the marker says.
        messages: [{ role: 'user', content: 'Tell me more. [[emulate output=500]]' }],
      })
      .withResponse()
    const remaining = response.headers.get('x-headgate-budget-remaining-usd')
    const step = response.headers.get('x-headgate-budget-warning')
    const warning = step === null ? '' : `, warning: ${step} % are spent`
    process.stdout.write(`answered, ${remaining} USD left${warning}\n`)
    return true
  } catch (error) {
    if (!(error instanceof APIError)) throw error
    process.stdout.write(`${error.status}: ${error.error.error.message}\n`)
    return false
  }
}

while (await ask());
