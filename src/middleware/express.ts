// The limiter as a middleware of Express. Must not know: what it limits.
import type { ErrorRequestHandler, Request, RequestHandler } from 'express'
import type { Limiter } from './limiter.ts'
import { type AdapterOptions, callerOf, enter, headerOf, sendAnswer } from './node-exchange.ts'
import { LimitReached } from './refusal-answer.ts'
import type { RequestLimits } from './visit.ts'

declare module 'express-serve-static-core' {
  interface Request {
    /** There after `expressLimiter`. */
    limits: RequestLimits
  }
}

/** Lets requests through to what is used after it when it is their turn. */
export function expressLimiter(
  limiter: Limiter,
  options: AdapterOptions<Request> = {},
): RequestHandler {
  const admit = async (...[request, response, next]: Parameters<RequestHandler>): Promise<void> => {
    const caller = () => callerOf(request, headerOf(request), options)
    const entrance = await enter(limiter, response, caller)
    if (entrance.kind === 'refused') sendAnswer(response, entrance.answer)
    if (entrance.kind !== 'admitted') return
    request.limits = entrance.limits
    next()
  }
  return (request, response, next) => {
    admit(request, response, next).catch(next)
  }
}

/**
 * Answers a `LimitReached` that a handler has not caught; used after the routes. Without it Express
 * answers with the same status and headers, and a page of its own.
 */
export const expressLimitReached: ErrorRequestHandler = (error, _, response, next) => {
  if (error instanceof LimitReached) sendAnswer(response, error.answer)
  else next(error)
}
