// Which endpoint answers a method and path. Owns: routes, the credential check, the last resort when
// something breaks. Must not know: what endpoints do.
import { countTokens, type Endpoint, getModel, listFiles, listModels } from './auxiliary.ts'
import {
  batchResults,
  cancelBatch,
  createBatch,
  deleteBatch,
  getBatch,
  listBatches,
} from './batch-endpoints.ts'
import type { Account } from './emulated-provider.ts'
import { credentialName, credentialOf, type Exchange } from './exchange.ts'
import { faultChanges } from './faults.ts'
import { answerMessages } from './messages.ts'
import { readJson } from './request-body.ts'
import type { World } from './world.ts'

/** Calls that need no credential: the warm-up probe, and the emulator's own controls. */
type OpenEndpoint = (world: World, exchange: Exchange) => Promise<void> | void

const OPEN_ROUTES: Readonly<Record<string, OpenEndpoint>> = {
  'HEAD /api/hello': (_world, exchange) => exchange.json(200, {}),
  'GET /api/hello': (_world, exchange) => exchange.json(200, {}),
  'GET /emulator/report': (world, exchange) => exchange.json(200, world.provider.report()),
  'GET /emulator/faults': (world, exchange) => exchange.json(200, world.faults.settings),
  'POST /emulator/faults': changeFaults,
  'POST /emulator/reset': (world, exchange) => {
    world.reset()
    exchange.json(200, world.provider.report())
  },
}

/** One part of a path is an id where the route has `:id`. */
const ROUTES: Readonly<Record<string, Endpoint>> = {
  'POST /v1/messages': answerMessages,
  'POST /v1/messages/count_tokens': countTokens,
  'POST /v1/messages/batches': createBatch,
  'GET /v1/messages/batches': listBatches,
  'GET /v1/messages/batches/:id': getBatch,
  'DELETE /v1/messages/batches/:id': deleteBatch,
  'POST /v1/messages/batches/:id/cancel': cancelBatch,
  'GET /v1/messages/batches/:id/results': batchResults,
  'GET /v1/models': listModels,
  'GET /v1/models/:id': getModel,
  'GET /v1/files': listFiles,
}

export async function route(world: World, exchange: Exchange): Promise<void> {
  try {
    await dispatch(world, exchange)
  } catch (cause) {
    if (exchange.isAbandoned || exchange.response.headersSent) return exchange.reset()
    const message = cause instanceof Error ? cause.message : String(cause)
    exchange.error({ type: 'api_error', message: `The emulator failed: ${message}` })
  }
}

function dispatch(world: World, exchange: Exchange): Promise<void> | void {
  const { path } = exchange
  const call = `${exchange.request.method} ${path}`
  const open = OPEN_ROUTES[call]
  if (open) return open(world, exchange)
  const account = accountOf(world, exchange)
  if (!account) {
    return exchange.error({
      type: 'authentication_error',
      message: 'x-api-key header is required',
    })
  }
  exchange.identify(account)
  const found = findRoute(call)
  if (found) return found.endpoint(world, exchange, account, found.id)
  exchange.error({ type: 'not_found_error', message: 'Not found' })
}

function findRoute(call: string): { readonly endpoint: Endpoint; readonly id: string } | null {
  const exact = ROUTES[call]
  if (exact) return { endpoint: exact, id: '' }
  const parts = call.split('/')
  for (const place of [-1, -2]) {
    const id = parts.at(place)
    const endpoint = id && ROUTES[parts.with(place, ':id').join('/')]
    if (endpoint) return { endpoint, id }
  }
  return null
}

function accountOf({ settings }: World, { request }: Exchange): Account | null {
  const credential = credentialOf(request)
  if (credential === null) return null
  const key = credentialName(credential)
  return { key, organization: settings.organizations[credential] ?? key }
}

async function changeFaults(world: World, exchange: Exchange): Promise<void> {
  const read = await readJson(exchange.request, faultChanges)
  if (read.kind === 'failed') return exchange.error(read.error)
  world.faults.change(read.value.value)
  exchange.json(200, world.faults.settings)
}
