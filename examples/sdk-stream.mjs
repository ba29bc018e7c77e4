// Streams one answer through Headgate with the official SDK, and says how long it waited.
import process from 'node:process'
import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic({
  baseURL: process.env.ANTHROPIC_BASE_URL ?? 'http://127.0.0.1:4000',
  // The emulator takes any.
  apiKey: process.env.ANTHROPIC_API_KEY ?? 'any',
})

const stream = client.messages.stream({
  model: 'claude-sonnet-5',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Say hello in one sentence.' }],
})
stream.on('text', (text) => process.stdout.write(text))

const { usage } = await stream.finalMessage()
const queuedMs = stream.response?.headers.get('x-headgate-queued-ms')
process.stdout.write(`\n\n${usage.output_tokens} tokens, waited ${queuedMs} ms for its turn\n`)
