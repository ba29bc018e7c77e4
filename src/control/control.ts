// Headgate's own paths on the gateway's port. Owns: health, readiness, status and metrics over HTTP, and
// who may ask. Must not know: how calls are governed; it reads snapshots and counts.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { METRICS_CONTENT_TYPE, type MetricsSource, metricsText } from '../telemetry/metrics.ts'
import { type ApiOptions, createApi, isAdminPath } from './api/api.ts'
import { sendJson, sendProblem } from './exchange.ts'
import { isFromHere, isRebound } from './from-here.ts'
import { isLeasePath, LeaseDoor, type LeaseDoorOptions } from './leases/lease-door.ts'
import { problem } from './problem.ts'
import { type StatusSource, statusOf } from './status.ts'

export interface ControlOptions extends StatusSource, MetricsSource {
  readonly store: StatusSource['store']
  /** False once the gateway takes no new calls. */
  readonly isReady: () => boolean
  readonly failed: (error: unknown) => void
  /** @default nobody administers */
  readonly administration?: Omit<ApiOptions, 'failed'>
  /** Null: nobody asks for leases here. @default null */
  readonly leases?: LeaseDoorOptions | null
}

const NOBODY_ADMINISTERS: Omit<ApiOptions, 'failed'> = {
  admin: null,
  token: () => null,
  changed: async () => {},
}

type Answer = (response: ServerResponse) => Promise<void> | void

const REBOUND = 'The control plane answers to localhost and to addresses, not to other names.'

/** Answered to anybody: they say nothing of what the gate does. */
const PUBLIC = new Set(['/healthz', '/readyz'])

/**
 * Answers Headgate's own paths; returns false for any other. What is asked every few seconds is
 * answered here; the rest goes to the API.
 */
export function createControl(
  options: ControlOptions,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const answers: Readonly<Record<string, Answer>> = {
    '/healthz': (response) => sendJson(response, 200, { status: 'ok' }),
    '/readyz': (response) =>
      options.isReady()
        ? sendJson(response, 200, readiness(options.store))
        : sendJson(response, 503, { status: 'shutting down' }),
    '/metrics': async (response) => sendMetrics(response, await metricsText(options)),
    '/headgate/v1/status': async (response) => sendJson(response, 200, await statusOf(options)),
  }
  const api = createApi({
    ...NOBODY_ADMINISTERS,
    ...options.administration,
    failed: options.failed,
  })
  const door = options.leases && new LeaseDoor(options.leases, options.clock, options.failed)
  const fail = (response: ServerResponse) => (error: unknown) => {
    options.failed(error)
    response.destroy()
  }
  return (request, response) => {
    const path = pathOf(request)
    const isOwn = path in answers || path === '/headgate' || path.startsWith('/headgate/')
    if (!isOwn) return false
    if (door && isLeasePath(path)) {
      door.answer(request, response).catch(fail(response))
      return true
    }
    const isForAnyMachine = PUBLIC.has(path) || isAdminPath(path)
    const probe = answers[path]
    // Names of flows and resources are no secrets, but no stranger's business either.
    if (!isForAnyMachine && !isFromHere(request)) {
      sendProblem(response, problem(403, 'The control plane answers this machine only.'))
    } else if (!isForAnyMachine && isRebound(request)) {
      sendProblem(response, problem(403, REBOUND))
    } else if (probe && request.method !== 'GET' && request.method !== 'HEAD') {
      sendProblem(response, problem(405, `${path} is read with GET.`))
    } else {
      Promise.resolve(probe ? probe(response) : api(request, response)).catch(fail(response))
    }
    return true
  }
}

/** Without its store a gateway still works: taking it out of service would only make matters worse. */
function readiness({ isDegraded }: StatusSource['store']): Readonly<Record<string, string>> {
  return isDegraded ? { status: 'ready', store: 'degraded' } : { status: 'ready' }
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

function sendMetrics(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE, 'cache-control': 'no-store' })
  response.end(text)
}
