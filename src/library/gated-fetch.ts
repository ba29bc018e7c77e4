// The gated fetch: a `fetch` whose calls to providers wait their turn. Owns: which calls are governed, and
// whose they are. Must not know: how a call goes on once it has begun.
import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import type { Lane } from '../client/lease.ts'
import type { RefusalReason } from '../core/refusal.ts'
import { type CallerWishes, readWishes } from '../dispatch/caller-wishes.ts'
import { ANONYMOUS } from '../policy/subject.ts'
import { isName } from '../policy/values.ts'
import { headerText } from '../providers/headers.ts'
import { type Aim, aimOf } from './aim.ts'
import { laneSchema, nameSchema, waitSchema } from './asked.ts'
import { checked, functionSchema, objectOf } from './checked.ts'
import { FetchCaller, refusalResponse } from './fetch-caller.ts'
import { bodyOf, forwardedHeaders, headOf, type Input, isInMemory } from './fetch-request.ts'
import type { Gate } from './gate.ts'
import { type Inside, insideOf } from './inside.ts'

export interface GatedFetchOptions {
  /** Who is charged: the limits and budgets of the user's tier count. */
  readonly user?: string
  /** The unit of fairness: an agent, a job. Flows of a lane share equally. */
  readonly flow?: string
  /** @default normal, or the lane of the user's tier */
  readonly lane?: Lane
  /** How long a call may wait in line, in milliseconds. @default `queue.max_wait` */
  readonly maxWaitMs?: number
  /** For URLs that are no provider's. @default the platform's */
  readonly fetch?: typeof fetch
}

const optionsSchema = objectOf({
  user: nameSchema.nullable().default(null),
  flow: nameSchema.nullable().default(null),
  lane: laneSchema.nullable().default(null),
  maxWaitMs: waitSchema.default(Number.POSITIVE_INFINITY),
  fetch: functionSchema<typeof fetch>().optional(),
})

type Terms = z.output<typeof optionsSchema>

/**
 * A `fetch` for the SDKs of providers. A call to a provider waits its turn, and what Headgate refuses is a
 * response in the provider's own shape. A header such as `x-headgate-lane` says for one call what the
 * options say for all. All other URLs go to the platform's `fetch`.
 *
 * @throws Invalid when an option makes no sense.
 * @throws TypeError when the gate is not one of `createGate`.
 */
export function gatedFetch(gate: Gate, options: GatedFetchOptions = {}): typeof fetch {
  const inside = insideOf(gate)
  const terms = checked(optionsSchema, options)
  return async (input: Input, init?: RequestInit) => {
    const head = headOf(input, init)
    const { policy } = inside.engine
    const aim = aimOf(head.url, head.method, head.headers, (provider) => policy.baseOf(provider))
    if (!aim) return await (terms.fetch ?? fetch)(input, init)
    head.signal?.throwIfAborted()
    // Its own signal is not needed: each would be one more listener on the caller's.
    const request = new Request(input, { ...init, signal: null })
    return await send(inside, terms, aim, { ...head, request, isInMemory: isInMemory(init?.body) })
  }
}

interface FetchCall extends Omit<ReturnType<typeof headOf>, 'url'> {
  readonly request: Request
  readonly isInMemory: boolean
}

async function send(inside: Inside, terms: Terms, aim: Aim, call: FetchCall): Promise<Response> {
  const { provider, operation, base } = aim
  const { method, signal, request } = call
  const id = `hg_${randomUUID()}`
  const refuse = (reason: RefusalReason, message: string): Response =>
    refusalResponse(provider, { reason, message, retryAfterMs: null }, id)
  // A body in memory has its type by now.
  const headers = Object.fromEntries(request.headers)
  const wishes = readWishes(headers, true)
  if (wishes.kind === 'bad') return refuse('bad_request', wishes.message)
  const { dispatcher, policy } = inside.engine
  const { identity, queue } = policy.settings
  const user = headerText(headers, identity.userHeader) ?? terms.user
  if (user !== null && !isName(user))
    return refuse('bad_request', `Header ${identity.userHeader}: this is no name.`)
  const read = await bodyOf(request, operation, call.isInMemory, signal)
  if (read.kind === 'too_large') return refuse('body_too_large', tooLarge(operation.maxBodyBytes))
  const { promise, ...settling } = Promise.withResolvers<Response>()
  const caller = new FetchCaller(settling, {
    id,
    provider,
    method,
    body: read.body,
    signal,
    onOver: (over) => inside.callers.delete(over),
  })
  if (signal?.aborted) {
    caller.breakOff(signal.reason)
    return await promise
  }
  inside.callers.add(caller)
  const started = dispatcher.start(
    {
      id,
      provider,
      operation,
      method,
      headers,
      forwardHeaders: forwardedHeaders(headers),
      base,
      body: read.body,
      identity: user === null ? ANONYMOUS : { ...ANONYMOUS, user },
      believesBody: false,
      flow: wishes.flow ?? terms.flow,
      lane: wishes.lane ?? terms.lane,
      deadlineAt: deadlineOf(wishes, terms, queue.maxWaitMs, dispatcher.clock.now()),
      // Its client's own time-out comes as an abort, and its next try finds the old place.
      longestPlainWaitMs: Number.POSITIVE_INFINITY,
    },
    caller,
  )
  caller.attach(started)
  return await promise
}

/** A header says more than the options do; `queue.max_wait` is the most in any case. */
function deadlineOf(
  wishes: Extract<CallerWishes, { kind: 'read' }>,
  terms: Terms,
  mostMs: number,
  now: number,
): number {
  const wishedMs = Number.isFinite(wishes.maxWaitMs) ? wishes.maxWaitMs : terms.maxWaitMs
  return Math.min(now + Math.min(mostMs, wishedMs), wishes.deadlineAt)
}

const tooLarge = (maxBytes: number): string =>
  `The request's body is larger than the ${maxBytes} bytes that the provider accepts.`
