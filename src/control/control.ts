// Headgate's own paths on the gateway's port. Owns: health, readiness, status and metrics over HTTP.
// Must not know: how calls are governed; it reads snapshots and counts.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { METRICS_CONTENT_TYPE, type MetricsSource, metricsText } from '../telemetry/metrics.ts'
import { type StatusSource, statusOf } from './status.ts'

export interface ControlOptions extends StatusSource, MetricsSource {
  readonly store: StatusSource['store']
  /** False once the gateway takes no new calls. */
  readonly isReady: () => boolean
  readonly failed: (error: unknown) => void
}

type Answer = (response: ServerResponse) => Promise<void> | void

/** Answered to anybody: they say nothing of what the gate does. */
const PUBLIC = new Set(['/healthz', '/readyz'])

/** Answers Headgate's own paths; returns false for any other. */
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
  return (request, response) => {
    const path = pathOf(request)
    const isOwn = path in answers || path === '/headgate' || path.startsWith('/headgate/')
    if (!isOwn) return false
    const answer = answers[path]
    if (!PUBLIC.has(path) && !isFromHere(request)) {
      sendProblem(response, 403, 'The control plane answers this machine only.')
    } else if (!answer) {
      sendProblem(response, 404, `There is nothing at ${path.slice(0, 200)}.`)
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      sendProblem(response, 405, `${path} is read with GET.`)
    } else {
      Promise.resolve(answer(response)).catch((error: unknown) => {
        options.failed(error)
        response.destroy()
      })
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

/** Names of flows and resources are no secrets, but no stranger's business either. */
function isFromHere(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? ''
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(value))
}

function sendMetrics(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE, 'cache-control': 'no-store' })
  response.end(text)
}

/** A problem document (RFC 9457). */
function sendProblem(response: ServerResponse, status: number, detail: string): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' })
  response.end(JSON.stringify({ type: 'about:blank', status, detail }))
}
