// Asks the provider itself, each time with a lease: for SECONDS_TO_WORK, as FLOW in LANE.
import process from 'node:process'
import Anthropic from '@anthropic-ai/sdk'
import { connect } from 'headgate/client'

const {
  HEADGATE_URL: url = 'http://127.0.0.1:4000',
  PROVIDER_URL: baseURL = 'http://127.0.0.1:4010',
  ANTHROPIC_API_KEY: apiKey = 'any',
  RESOURCE: resource = 'anthropic/claude-sonnet-5',
  FLOW: flow = 'typescript',
  LANE: lane = 'normal',
  SECONDS_TO_WORK: seconds = '10',
} = process.env

const headgate = connect({ url })
const provider = new Anthropic({ baseURL, apiKey, maxRetries: 0 })
const content = 'word '.repeat(2000)

async function ask() {
  await using lease = await headgate.acquire(resource, {
    load: { input_tokens: 2010, output_tokens: 20 },
    flow,
    lane,
  })
  const { usage } = await provider.messages.create({
    model: 'claude-sonnet-5',
    max_tokens: 20,
    messages: [{ role: 'user', content }],
  })
  await lease.settle({ input_tokens: usage.input_tokens, output_tokens: usage.output_tokens })
}

const stopAt = Date.now() + Number(seconds) * 1000
let answered = 0
while (Date.now() < stopAt) {
  await ask()
  answered += 1
}
process.stdout.write(`${answered}\n`)
