// The limiter before a handler of plain node:http. Must not know: any framework.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Limiter } from './limiter.ts'
import { type AdapterOptions, callerOf, enter, headerOf, sendAnswer } from './node-exchange.ts'
import { CallerGone, LimitReached } from './refusal-answer.ts'
import type { RequestLimits } from './visit.ts'

export type NodeHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  limits: RequestLimits,
) => unknown

/**
 * A listener for `createServer`: lets requests through to the handler when it is their turn. A
 * `LimitReached` that the handler does not catch is its answer; anything else that it throws is a 500,
 * and told as `failed`.
 */
export function nodeLimiter(
  limiter: Limiter,
  handler: NodeHandler,
  options: AdapterOptions<IncomingMessage> = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const caller = () => callerOf(request, headerOf(request), options)
    const entrance = await enter(limiter, response, caller)
    if (entrance.kind === 'admitted') await handler(request, response, entrance.limits)
    else if (entrance.kind === 'refused') sendAnswer(response, entrance.answer)
  }
  return (request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (error instanceof LimitReached) sendAnswer(response, error.answer)
      else fail(error, response, limiter)
    })
  }
}

function fail(error: unknown, response: ServerResponse, limiter: Limiter): void {
  const body = {
    error: 'internal_error',
    message: 'The server failed to answer this request.',
    limit: null,
    retry_after: null,
  }
  if (!(error instanceof CallerGone)) limiter.failed(error)
  sendAnswer(response, { status: 500, headers: {}, body })
}
