// The endpoints beside messages: token counts, models, files. Each draws on its own pool.
// Owns: how such a call is let pass or refused. Must not know: routing, generation.
import { rateLimitError } from './api-error.ts'
import type { Account, AuxiliaryPool } from './emulated-provider.ts'
import type { Exchange } from './exchange.ts'
import { promptBody } from './messages-request.ts'
import { modelClassOf } from './model-class.ts'
import { readPrompt } from './prompt-reader.ts'
import { readJson } from './request-body.ts'
import type { World } from './world.ts'

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

/** Answers with what `answer` gives, if the pool's limit lets the call pass. */
export function passThrough(
  pool: AuxiliaryPool,
  world: World,
  exchange: Exchange,
  account: Account,
  answer: () => object,
): void {
  const headers = admitted(pool, world, exchange, account)
  if (headers) exchange.json(200, answer(), headers)
}

/** The limit headers of a call that its pool lets pass; null when it has been refused. */
export function admitted(
  pool: AuxiliaryPool,
  { provider }: World,
  exchange: Exchange,
  account: Account,
): Record<string, string> | null {
  const refused = provider.admitAuxiliary(account, pool)
  const headers = provider.poolHeaders(account, pool)
  if (!refused) return headers
  exchange.error(rateLimitError(refused, account.organization), headers)
  return null
}

export function notFound(exchange: Exchange, message: string): void {
  exchange.error({ type: 'not_found_error', message })
}

export function page<T extends { readonly id?: string | undefined }>(
  data: readonly T[],
  hasMore = false,
) {
  return {
    data,
    has_more: hasMore,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  }
}
