// The endpoints of batches. Owns: how a batch is shown, and what is refused. Source: the Message Batches API
// reference. Must not know: when a batch ends.
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ApiError } from './api-error.ts'
import { admitted, type Endpoint, notFound, page, passThrough } from './auxiliary.ts'
import { batchBody, planRequest, resultLine } from './batch-request.ts'
import type { Batch } from './batches.ts'
import type { Account } from './emulated-provider.ts'
import type { Exchange } from './exchange.ts'
import { readJson } from './request-body.ts'
import type { World } from './world.ts'

const MAX_BATCH_BYTES = 256 * 1024 * 1024
const PAGE_SIZE = 20
const LARGEST_PAGE = 1000

export const createBatch: Endpoint = async (world, exchange, account) => {
  const read = await readJson(exchange.request, batchBody, MAX_BATCH_BYTES)
  if (read.kind === 'failed') return exchange.error(read.error)
  const { requests } = read.value.value
  const headers = admitted('batches', world, exchange, account)
  if (!headers) return
  if (world.batches.queued(account) + requests.length > world.settings.batchQueue) {
    return exchange.error(queueIsFull(world.settings.batchQueue), headers)
  }
  const planned = requests.map((request) => planRequest(request, world.faults))
  exchange.json(200, shownBatch(world.batches.create(account, planned), exchange), headers)
}

export const getBatch: Endpoint = (world, exchange, account, id) => {
  const batch = found(world, exchange, account, id)
  if (!batch) return
  passThrough('batches', world, exchange, account, () => shownBatch(batch, exchange))
}

export const listBatches: Endpoint = (world, exchange, account) =>
  passThrough('batches', world, exchange, account, () => {
    const { batches, hasMore } = pageOf(world.batches.allOf(account), exchange.query)
    return page(
      batches.map((batch) => shownBatch(batch, exchange)),
      hasMore,
    )
  })

export const cancelBatch: Endpoint = (world, exchange, account, id) => {
  const batch = found(world, exchange, account, id)
  if (!batch) return
  if (batch.endedAt !== null) return exchange.error(wrongState(batch, 'has ended'))
  passThrough('batches', world, exchange, account, () => {
    world.batches.cancel(batch)
    return shownBatch(batch, exchange)
  })
}

export const deleteBatch: Endpoint = (world, exchange, account, id) => {
  const batch = found(world, exchange, account, id)
  if (!batch) return
  if (batch.endedAt === null) return exchange.error(wrongState(batch, 'has not ended yet'))
  passThrough('batches', world, exchange, account, () => {
    world.batches.delete(batch)
    return { id, type: 'message_batch_deleted' }
  })
}

export const batchResults: Endpoint = async (world, exchange, account, id) => {
  const batch = found(world, exchange, account, id)
  if (!batch) return
  if (batch.endedAt === null) return exchange.error(wrongState(batch, 'has not ended yet'))
  const headers = admitted('batches', world, exchange, account)
  if (!headers) return
  exchange.begin(200, 'application/x-jsonl', headers)
  await pipeline(Readable.from(linesOf(batch)), exchange.response)
}

function* linesOf({ results }: Batch): Generator<string> {
  for (const result of results) yield resultLine(result)
}

function found(world: World, exchange: Exchange, account: Account, id: string): Batch | null {
  const batch = world.batches.find(account, id)
  if (!batch) notFound(exchange, `batch: ${id}`)
  return batch
}

function queueIsFull(most: number): ApiError {
  const amount = most.toLocaleString('en-US')
  return {
    type: 'rate_limit_error',
    message: `This request would exceed your organization's limit of ${amount} batch requests in the processing queue.`,
  }
}

function wrongState({ id }: Batch, state: string): ApiError {
  return { type: 'invalid_request_error', message: `Batch ${id} ${state}.` }
}

/** The batches behind `after_id` or before `before_id`, newest first. */
function pageOf(
  all: readonly Batch[],
  query: URLSearchParams,
): { readonly batches: readonly Batch[]; readonly hasMore: boolean } {
  const limit = Math.min(LARGEST_PAGE, Number(query.get('limit') ?? PAGE_SIZE) || PAGE_SIZE)
  const beforeId = query.get('before_id')
  if (beforeId !== null) {
    const end = all.findIndex(({ id }) => id === beforeId)
    const start = Math.max(0, end - limit)
    return { batches: all.slice(start, end), hasMore: start > 0 }
  }
  const start = all.findIndex(({ id }) => id === query.get('after_id')) + 1
  return { batches: all.slice(start, start + limit), hasMore: start + limit < all.length }
}

function shownBatch(batch: Batch, { request }: Exchange) {
  const { id, createdAt, expiresAt, cancelledAt, endedAt } = batch
  const underWay = cancelledAt === null ? 'in_progress' : 'canceling'
  return {
    id,
    type: 'message_batch',
    processing_status: endedAt === null ? underWay : 'ended',
    request_counts: countsOf(batch),
    created_at: instant(createdAt),
    expires_at: instant(expiresAt),
    ended_at: instant(endedAt),
    archived_at: null,
    cancel_initiated_at: instant(cancelledAt),
    results_url:
      endedAt === null ? null : `http://${request.headers.host}/v1/messages/batches/${id}/results`,
  }
}

/** All are being processed until the batch has ended: the provider tells no more before that. */
function countsOf({ size, endedAt, results }: Batch) {
  const counts = { processing: 0, succeeded: 0, errored: 0, canceled: 0, expired: 0 }
  if (endedAt === null) return { ...counts, processing: size }
  for (const { outcome } of results) counts[outcome.type]++
  return counts
}

const instant = (at: number | null): string | null =>
  at === null ? null : new Date(at).toISOString()
