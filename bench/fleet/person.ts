// Somebody who waits for an answer, beside a job: one request after a fixed time, whatever became of those
// before, with the official SDK. Owns: how long each answer took. Usage: person.ts URL LANE EVERY_MS TRACES
import Anthropic, { APIError } from '@anthropic-ai/sdk'
import { PromptWriter, sizesOf } from './prompts.ts'

/** What became of one request; times in milliseconds of the run's time. */
export interface Asked {
  readonly askedAt: number
  readonly tookMs: number
  /** In line at the gate, as it says; null without a gate. */
  readonly queuedMs: number | null
  readonly outputTokens: number
  /** Null where it was answered. */
  readonly failure: string | null
}

/** Rows of the trace that no job here begins with. */
const FROM_ROW = 9000
const PROMPTS = 500

const [url = '', lane = '', everyMs = '', traces = ''] = process.argv.slice(2)
const client = new Anthropic({ baseURL: url })
const writer = new PromptWriter(2)
const prompts = sizesOf(traces, PROMPTS, FROM_ROW).map((sizes) => writer.params(sizes))
const headers = lane === '' ? {} : { 'x-headgate-lane': lane }
const asked: Asked[] = []
const pending = new Set<Promise<void>>()
let isStopped = false

async function ask(params: (typeof prompts)[number]): Promise<void> {
  const askedAt = Date.now()
  const sent = client.messages.create(params, { headers })
  try {
    const { data, response } = await sent.withResponse()
    const queued = response.headers.get('x-headgate-queued-ms')
    asked.push({
      askedAt,
      tookMs: Date.now() - askedAt,
      queuedMs: queued === null ? null : Number(queued),
      outputTokens: data.usage.output_tokens,
      failure: null,
    })
  } catch (error) {
    const failure = error instanceof APIError ? `${error.status ?? error.name}` : String(error)
    asked.push({ askedAt, tookMs: Date.now() - askedAt, queuedMs: null, outputTokens: 0, failure })
  }
}

process.once('SIGTERM', () => {
  isStopped = true
})
for (let next = 0; !isStopped; next++) {
  const params = prompts[next % prompts.length]
  if (!params) break
  const one = ask(params).finally(() => pending.delete(one))
  pending.add(one)
  await new Promise((resolve) => setTimeout(resolve, Number(everyMs)))
}
await Promise.all(pending)
process.stdout.write(`${JSON.stringify(asked)}\n`)
