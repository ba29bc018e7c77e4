// The coordinator: leases over HTTP. Owns: its paths, and the way from a request to the desk and back.
// Must not know: how turns are taken, or the server that it is served by.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { z } from 'zod'
import type { Prediction } from '../../core/admission.ts'
import type { Clock } from '../../core/clock.ts'
import { parseLane } from '../../core/lane.ts'
import { StoreUnreachable } from '../../core/store.ts'
import type { LeaseDesk } from '../../dispatch/lease-desk.ts'
import type { LeaseCaller } from '../../dispatch/lease-policy.ts'
import { type LeaseRefusal, leaseRefusal, STORE_FAILED } from '../../dispatch/lease-refusals.ts'
import { problemOf, readJson, sendJson, sendProblem } from '../exchange.ts'
import { problem } from '../problem.ts'
import { type Access, accessOf, type LeaseDoorRules, pageAccess } from './lease-access.ts'
import {
  acquireBody,
  checkBody,
  isIdempotencyKey,
  progressOf,
  renewBody,
  settleBody,
  shown,
} from './lease-documents.ts'
import { WaitingClient } from './waiting-client.ts'
import { WaitingRoom } from './waiting-room.ts'

export interface LeaseDoorOptions {
  readonly desk: LeaseDesk
  /** As they are at this moment. */
  readonly rules: () => LeaseDoorRules
  /** Reads again which keys there are. Never rejects. */
  readonly lookForKeys: () => Promise<void>
}

const BASE = '/headgate/v1'
const LEASES = `${BASE}/leases`
const CHECK = `${BASE}/check`

type Allowed = Extract<Access, { kind: 'open' }>

/** One request of somebody who may ask. */
interface Visit {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly access: Allowed
  readonly caller: LeaseCaller
  /** Of the path; empty where it names none. */
  readonly id: string
  readonly query: URLSearchParams
}

type Route = Readonly<Record<string, (visit: Visit) => Promise<void>>>

/** Reached by whoever may ask for leases, from any machine. */
export function isLeasePath(path: string): boolean {
  return path === CHECK || path === LEASES || path.startsWith(`${LEASES}/`)
}

export class LeaseDoor {
  readonly #options: LeaseDoorOptions
  readonly #clock: Clock
  readonly #room: WaitingRoom
  readonly #all: Route = {
    GET: (visit) => this.#list(visit),
    POST: (visit) => this.#acquire(visit),
  }
  readonly #one: Route = {
    GET: (visit) => this.#show(visit),
    DELETE: (visit) => this.#release(visit),
  }
  readonly #check: Route = { POST: (visit) => this.#checkNow(visit) }
  readonly #verbs: ReadonlyMap<string, Route> = new Map([
    ['renew', { POST: (visit: Visit) => this.#renew(visit) }],
    ['settle', { POST: (visit: Visit) => this.#settle(visit) }],
  ])

  constructor(options: LeaseDoorOptions, clock: Clock, failed: (error: unknown) => void) {
    this.#options = options
    this.#clock = clock
    this.#room = new WaitingRoom(clock, failed)
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { lookForKeys, rules } = this.#options
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://gate')
    const [id = '', verb] = pathname.slice(LEASES.length + 1).split('/')
    const route = this.#routeOf(pathname, id, verb)
    if (!route) {
      sendProblem(response, problem(404, `There is nothing at ${pathname.slice(0, 200)}.`))
      return
    }
    const page = pageAccess(request.headers.origin, rules())
    if (page.kind === 'refused') return refuse(response, page.refusal)
    for (const [name, value] of Object.entries(page.headers)) response.setHeader(name, value)
    const { method = 'GET' } = request
    const allow = [...Object.keys(route), ...('GET' in route ? ['HEAD'] : []), 'OPTIONS']
    if (method === 'OPTIONS') {
      response.writeHead(204, { allow: allow.join(', ') }).end()
      return
    }
    const act = route[method === 'HEAD' ? 'GET' : method]
    if (!act) {
      response.setHeader('allow', allow.join(', '))
      sendProblem(response, problem(405, `${method} means nothing at this path.`))
      return
    }
    const access = await accessOf(request, rules, this.#clock.now(), lookForKeys)
    if (access.kind === 'refused') return refuse(response, access.refusal)
    try {
      await act({ request, response, access, caller: access.caller, id, query })
    } catch (error) {
      if (!(error instanceof StoreUnreachable)) throw error
      refuse(response, STORE_FAILED)
    }
  }

  #routeOf(path: string, id: string, verb: string | undefined): Route | undefined {
    if (path === CHECK) return this.#check
    if (path === LEASES) return this.#all
    if (id === '' || path.split('/').length > LEASES.split('/').length + 2) return undefined
    return verb === undefined ? this.#one : this.#verbs.get(verb)
  }

  async #acquire(visit: Visit): Promise<void> {
    const { request, response, caller } = visit
    const idempotencyKey = textOf(request.headers['idempotency-key'])
    if (idempotencyKey !== null && !isIdempotencyKey(idempotencyKey))
      return refuse(response, BAD_IDEMPOTENCY_KEY)
    const body = await read(visit, acquireBody)
    if (!body) return
    const { maxWaitMs = null, ttlMs = null } = body
    const isResumed = request.headers['x-headgate-resume'] === '1'
    const opened = await this.#options.desk.open({
      caller,
      ...wishedOf(visit, body),
      maxWaitMs,
      ttlMs,
      idempotencyKey,
      isResumed,
    })
    if (opened.kind === 'refused') return refuse(response, opened.refusal)
    const { ask } = opened
    if (response.destroyed) return ask.detach(false)
    const wantsEvents = /\btext\/event-stream\b/i.test(request.headers.accept ?? '')
    const client = new WaitingClient(ask, response, wantsEvents, this.#clock)
    response.once('close', () => {
      this.#room.leave(client)
      ask.detach(response.writableFinished)
    })
    if (opened.kind === 'told') return client.tell(opened.outcome)
    if (wantsEvents) this.#watch(client, opened.prediction)
    const outcome = await ask.outcome
    this.#room.leave(client)
    if (!response.destroyed) client.tell(outcome)
  }

  #watch(client: WaitingClient, prediction: Prediction | null): void {
    client.begin()
    if (prediction) client.showPlace(prediction)
    this.#room.enter(client, prediction !== null)
  }

  async #checkNow(visit: Visit): Promise<void> {
    const body = await read(visit, checkBody)
    if (!body) return
    const { caller, response } = visit
    const checked = await this.#options.desk.check({ caller, ...wishedOf(visit, body) })
    if (checked.kind === 'refused') return refuse(response, checked.refusal)
    const { refusal, count, max } = checked
    const waitMs = refusal ? refusal.retryAfterMs : 0
    const retryAfter = waitMs === null ? null : Math.ceil(waitMs / 1000)
    sendJson(response, 200, { allowed: refusal === null, count, max, retry_after: retryAfter })
  }

  async #list({ caller, query, response }: Visit): Promise<void> {
    const listed = await this.#options.desk.list(caller, query.get('resource'))
    if (listed.kind === 'refused') return refuse(response, listed.refusal)
    sendJson(response, 200, { leases: listed.views.map(shown) })
  }

  async #show({ caller, id, response }: Visit): Promise<void> {
    const found = await this.#options.desk.find(caller, id)
    if (found.kind === 'refused') return refuse(response, found.refusal)
    const { view, prediction } = found
    const progress = prediction && progressOf(prediction, this.#clock.now())
    sendJson(response, 200, { ...shown(view), ...progress })
  }

  async #renew(visit: Visit): Promise<void> {
    const body = await read(visit, renewBody)
    if (!body) return
    const { caller, id, response } = visit
    const renewed = await this.#options.desk.renew(caller, id, body.ttlMs ?? null)
    if (renewed.kind === 'refused') return refuse(response, renewed.refusal)
    const { expiresAt, ttlMs } = renewed
    sendJson(response, 200, { id, expiresAt: Math.round(expiresAt), ttlMs })
  }

  async #settle(visit: Visit): Promise<void> {
    const body = await read(visit, settleBody)
    if (!body) return
    const { caller, id, response } = visit
    const ended = await this.#options.desk.settle(caller, id, body.actual ?? null)
    if (ended.kind === 'refused') return refuse(response, ended.refusal)
    sendJson(response, 200, { id, settled: true })
  }

  async #release({ caller, id, response }: Visit): Promise<void> {
    const ended = await this.#options.desk.release(caller, id)
    if (ended.kind === 'refused') return refuse(response, ended.refusal)
    response.writeHead(204).end()
  }
}

/** What is wished for; only those who are trusted may say how they share, and how urgent they are. */
function wishedOf({ access }: Visit, body: z.output<typeof checkBody>) {
  const { resource, load = 0, lane, flow } = body
  const { isTrusted } = access
  return {
    resource,
    load,
    lane: isTrusted && lane ? parseLane(lane) : null,
    flow: isTrusted && flow ? flow : null,
  }
}

/** Null: the request has been answered, or nobody is there. */
async function read<T extends z.ZodType>(
  { request, response }: Visit,
  schema: T,
): Promise<z.output<T> | null> {
  const body = await readJson(request, schema)
  if (body.kind === 'wrong') sendProblem(response, body.problem)
  return body.kind === 'read' ? body.value : null
}

const BAD_IDEMPOTENCY_KEY = leaseRefusal(
  'invalid',
  'Idempotency-Key is no key: send 1 to 200 printable characters of ASCII.',
  { field: 'Idempotency-Key' },
)

function refuse(response: ServerResponse, refusal: LeaseRefusal): void {
  if (!response.destroyed && !response.headersSent) sendProblem(response, problemOf(refusal))
}

const textOf = (value: string | string[] | undefined): string | null =>
  value === undefined ? null : String(value)
