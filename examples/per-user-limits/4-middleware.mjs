// An API of one's own, with Express: callers show their key in X-API-Key, each tier has its limits and its
// model, and answers carry the rate limit headers. Three callers and a stranger try it.
import { once } from 'node:events'
import path from 'node:path'
import process from 'node:process'
import Anthropic from '@anthropic-ai/sdk'
import express from 'express'
import { createLimiter } from 'headgate/middleware'
import { expressLimiter } from 'headgate/middleware/express'

const MODELS = { free: 'claude-haiku-4-5', pro: 'claude-haiku-4-5', premium: 'claude-sonnet-5' }

const client = new Anthropic({
  baseURL: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4000',
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
})
const limiter = await createLimiter({
  file: path.join(import.meta.dirname, '4-middleware.yaml'),
})

const app = express()
app.use(expressLimiter(limiter))
app.post('/chat', async (request, response) => {
  const { model, usage } = await client.messages.create({
    model: MODELS[request.limits.tier],
    max_tokens: 20,
    messages: [{ role: 'user', content: 'Say hello.' }],
  })
  response.json({ model, tokens: usage.output_tokens })
})
const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${server.address().port}/chat`

async function tell(key, times) {
  for (let sent = 1; sent <= times; sent++) {
    const response = await fetch(url, { method: 'POST', headers: { 'x-api-key': key } })
    const { model, error } = await response.json()
    if (sent < times) continue
    const [limit, remaining] = ['limit', 'remaining'].map((name) =>
      response.headers.get(`x-ratelimit-${name}`),
    )
    const left = limit === null ? '' : `, ${remaining} of ${limit} left`
    const retry = response.headers.get('retry-after')
    const again = retry === null ? '' : `, again in ${retry} s`
    process.stdout.write(`${key}: ${response.status} ${model ?? error}${left}${again}\n`)
  }
}

await tell('key_free_001', 1)
await tell('key_free_001', 10)
await tell('key_pro_001', 1)
await tell('key_prm_001', 1)
await tell('key_unknown', 1)

server.close()
await limiter.close()
