// The limiter as a middleware of Hono, wherever that runs. Must not know: sockets, what it limits.
import { EventEmitter } from 'node:events'
import type { Context, MiddlewareHandler } from 'hono'
import type { Limiter } from './limiter.ts'
import { type AdapterOptions, callerOf } from './node-exchange.ts'
import { LimitReached } from './refusal-answer.ts'
import type { RequestLimits, Visit } from './visit.ts'

declare module 'hono' {
  interface ContextVariableMap {
    /** There after `honoLimiter`. */
    limits: RequestLimits
  }
}

/**
 * Lets requests through to what is used after it when it is their turn. A `LimitReached` that a handler
 * does not catch is its answer, unless `onError` answers otherwise.
 */
export function honoLimiter(
  limiter: Limiter,
  options: AdapterOptions<Context> = {},
): MiddlewareHandler {
  return async (context, next) => {
    const visit = limiter.visit()
    const isWatched = endWithSocket(visit, context)
    try {
      const refusal = await admit(visit, context, next, options)
      if (refusal) visit.end()
      else if (!isWatched) endWithBody(visit, context)
      return refusal
    } catch (error) {
      visit.end()
      throw error
    }
  }
}

/** On Node the socket tells how a request ends. False where there is none; then only who leaves is seen. */
function endWithSocket(visit: Visit, context: Context): boolean {
  const outgoing: unknown = context.env?.outgoing
  if (outgoing instanceof EventEmitter) {
    outgoing.once('close', () => visit.end())
    return true
  }
  context.req.raw.signal.addEventListener('abort', () => visit.end(), { once: true })
  return false
}

async function admit(
  visit: Visit,
  context: Context,
  next: () => Promise<void>,
  options: AdapterOptions<Context>,
): Promise<Response | undefined> {
  let told: Readonly<Record<string, string>> = {}
  visit.onHeaders = (headers) => {
    told = headers
  }
  const header = (name: string): string | null => context.req.header(name) ?? null
  const entrance = await visit.enter(await callerOf(context, header, options))
  if (entrance.kind === 'gone') return new Response(null, { status: CALLER_GONE })
  if (entrance.kind === 'refused') return new LimitReached(entrance.answer).getResponse()
  context.set('limits', entrance.limits)
  await next()
  for (const name in told) if (!context.res.headers.has(name)) context.header(name, told[name])
  return undefined
}

/** What servers write down of a request whose caller left: nobody reads it. */
const CALLER_GONE = 499

/** The request ends when the last byte of its answer has been taken, or nobody takes more. */
function endWithBody(visit: Visit, context: Context): void {
  const { body } = context.res
  if (!body || context.req.method === 'HEAD') {
    visit.end()
    return
  }
  const reader = body.getReader()
  const watched = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        visit.end()
        throw error
      })
      if (!done) controller.enqueue(value)
      else {
        visit.end()
        controller.close()
      }
    },
    async cancel(reason) {
      visit.end()
      await reader.cancel(reason)
    },
  })
  context.res = new Response(watched, context.res)
}
