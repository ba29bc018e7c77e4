// The endpoints beside messages: token counts, models, batches, files. Each draws on its own pool.
// Must not know: routing, generation.
import { rateLimitError } from './api-error.ts'
import type { Account, AuxiliaryPool } from './emulated-provider.ts'
import type { Exchange } from './exchange.ts'
import { batchBody, promptBody } from './messages-request.ts'
import { modelClassOf } from './model-class.ts'
import { readPrompt } from './prompt-reader.ts'
import { readJson } from './request-body.ts'
import type { Batch, World } from './world.ts'

/** Every endpoint: it has answered when its promise resolves. */
export type Endpoint = (
  world: World,
  exchange: Exchange,
  account: Account,
  id: string,
) => Promise<void> | void

/** What `/v1/models` lists. Any other name of a known family is served all the same. */
const MODELS = [
  ['claude-fable-5', 'Claude Fable 5'],
  ['claude-opus-5', 'Claude Opus 5'],
  ['claude-sonnet-5', 'Claude Sonnet 5'],
  ['claude-opus-4-8', 'Claude Opus 4.8'],
  ['claude-sonnet-4-6', 'Claude Sonnet 4.6'],
  ['claude-sonnet-4-5', 'Claude Sonnet 4.5'],
  ['claude-haiku-4-5', 'Claude Haiku 4.5'],
].map(([id, display_name]) => ({
  type: 'model',
  id,
  display_name,
  created_at: '2026-01-01T00:00:00Z',
}))

const DAY_MS = 86_400_000

export const countTokens: Endpoint = async (world, exchange, account) => {
  const read = await readJson(exchange.request, promptBody)
  if (read.kind === 'failed') return exchange.error(read.error)
  const body = read.value.value
  if (modelClassOf(body.model) === null) return notFound(exchange, `model: ${body.model}`)
  passThrough('count_tokens', world, exchange, account, () => ({
    input_tokens: readPrompt(body).tokens,
  }))
}

export const listModels: Endpoint = (world, exchange, account) =>
  passThrough('other', world, exchange, account, () => page(MODELS))

export const getModel: Endpoint = (world, exchange, account, id) => {
  const model = MODELS.find((known) => known.id === id)
  if (!model) return notFound(exchange, `model: ${id}`)
  passThrough('other', world, exchange, account, () => model)
}

export const listFiles: Endpoint = (world, exchange, account) =>
  passThrough('other', world, exchange, account, () => page([]))

export const createBatch: Endpoint = async (world, exchange, account) => {
  const read = await readJson(exchange.request, batchBody)
  if (read.kind === 'failed') return exchange.error(read.error)
  const { requests } = read.value.value
  passThrough('batches', world, exchange, account, () => {
    const batch: Batch = {
      id: `msgbatch_01${world.newId()}`,
      organization: account.organization,
      requestCount: requests.length,
      createdAt: world.clock.now(),
    }
    world.batches.push(batch)
    return shownBatch(batch)
  })
}

export const getBatch: Endpoint = (world, exchange, account, id) => {
  const batch = batchesOf(world, account).find((known) => known.id === id)
  if (!batch) return notFound(exchange, `batch: ${id}`)
  passThrough('batches', world, exchange, account, () => shownBatch(batch))
}

export const listBatches: Endpoint = (world, exchange, account) =>
  passThrough('batches', world, exchange, account, () =>
    page(batchesOf(world, account).reverse().map(shownBatch)),
  )

/** Answers with what `answer` gives, if the pool's limit lets the call pass. */
function passThrough(
  pool: AuxiliaryPool,
  { provider }: World,
  exchange: Exchange,
  account: Account,
  answer: () => object,
): void {
  const refused = provider.admitAuxiliary(account, pool)
  const headers = provider.poolHeaders(account, pool)
  if (refused) exchange.error(rateLimitError(refused, account.organization), headers)
  else exchange.json(200, answer(), headers)
}

function notFound(exchange: Exchange, message: string): void {
  exchange.error({ type: 'not_found_error', message })
}

function batchesOf(world: World, { organization }: Account): Batch[] {
  return world.batches.filter((batch) => batch.organization === organization)
}

function shownBatch({ id, requestCount, createdAt }: Batch) {
  return {
    id,
    type: 'message_batch',
    processing_status: 'in_progress',
    request_counts: { processing: requestCount, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
    created_at: new Date(createdAt).toISOString(),
    expires_at: new Date(createdAt + DAY_MS).toISOString(),
    ended_at: null,
    archived_at: null,
    cancel_initiated_at: null,
    results_url: null,
  }
}

function page<T extends { readonly id?: string | undefined }>(data: readonly T[]) {
  return {
    data,
    has_more: false,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  }
}
