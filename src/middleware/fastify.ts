// The limiter as a plugin of Fastify. Must not know: what it limits.
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { Limiter } from './limiter.ts'
import { type AdapterOptions, callerOf, enter, headerOf } from './node-exchange.ts'
import { LimitReached, type RefusalAnswer } from './refusal-answer.ts'
import type { RequestLimits } from './visit.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** There from the hooks after `onRequest` on. */
    limits: RequestLimits
  }
}

/**
 * Lets requests through to all routes of the instance that it is registered in when it is their turn. A
 * `LimitReached` that a handler does not catch is its answer, unless an error handler answers otherwise.
 */
export function fastifyLimiter(
  limiter: Limiter,
  options: AdapterOptions<FastifyRequest> = {},
): FastifyPluginAsync {
  const refused = new WeakMap<FastifyRequest, RefusalAnswer>()
  const plugin: FastifyPluginAsync = async (instance) => {
    instance.decorateRequest('limits')
    instance.addHook('onRequest', async (request, reply) => {
      const caller = () => callerOf(request, headerOf(request.raw), options)
      const entrance = await enter(limiter, reply.raw, caller)
      if (entrance.kind === 'admitted') request.limits = entrance.limits
      else if (entrance.kind === 'gone') reply.hijack()
      else {
        const { status, headers, body } = entrance.answer
        return reply.code(status).headers(headers).send(body)
      }
    })
    // It comes only where no error handler has answered in its own words.
    instance.addHook('onError', async (request, _, error) => {
      if (error instanceof LimitReached) refused.set(request, error.answer)
    })
    instance.addHook('onSend', async (request, _, payload) => {
      const answer = refused.get(request)
      return answer ? JSON.stringify(answer.body) : payload
    })
  }
  return Object.assign(plugin, OF_THE_PARENT)
}

/** What Fastify asks of a plugin whose hooks are for the instance that registers it. */
const OF_THE_PARENT = { [Symbol.for('skip-override')]: true }
