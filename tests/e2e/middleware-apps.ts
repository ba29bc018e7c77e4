// One API of people's own, written for each framework that the limiter fits into, on a real port. Owns:
// the same four routes in each dialect. Must not know: what any test proves.
//
// GET / answers at once. GET /hold answers when the test says so. POST /chat/<n> reserves 1500 tokens and
// uses n. POST /throw fails.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { expressLimiter, expressLimitReached } from '../../src/middleware/express.ts'
import { fastifyLimiter } from '../../src/middleware/fastify.ts'
import { honoLimiter } from '../../src/middleware/hono.ts'
import type { CallerName, Limiter, RequestLimits } from '../../src/middleware/limiter.ts'
import { nodeLimiter } from '../../src/middleware/node.ts'

export interface App extends AsyncDisposable {
  readonly url: string
}

/** Who calls: `x-user` of the request, where the test wants that. */
export type Identify = ((user: string | null) => CallerName | null) | null

export interface AppParts {
  readonly limiter: Limiter
  readonly identify: Identify
  /** Resolves when a held request may be answered. */
  readonly released: () => Promise<void>
}

const RESERVED = { tokens: 1500 }

async function chat(limits: RequestLimits, used: number): Promise<{ used: number }> {
  const reservation = await limits.reserve(RESERVED)
  await reservation.settle({ tokens: used })
  return { used }
}

async function appOn(server: Server, close: () => Promise<unknown>): Promise<App> {
  const { port } = await new Promise<AddressInfo>((resolve, reject) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      if (typeof address === 'object' && address) resolve(address)
      else reject(new Error('it does not listen on a port'))
    })
  })
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => void (await close()),
  }
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

const textOf = (value: string | string[] | undefined): string | null =>
  value === undefined ? null : String(value)

async function openNode({ limiter, identify, released }: AppParts): Promise<App> {
  const named = identify && {
    identify: (request: { readonly headers: NodeJS.Dict<string | string[]> }) =>
      identify(textOf(request.headers['x-user'])),
  }
  const listener = nodeLimiter(
    limiter,
    async (request, response, limits) => {
      const [, route, amount] = (request.url ?? '').split('/')
      const send = (body: object) => {
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify(body))
      }
      if (route === 'throw') throw new Error('the handler fails')
      if (route === 'hold') await released()
      send(route === 'chat' ? await chat(limits, Number(amount)) : { user: limits.identity.user })
    },
    named ?? {},
  )
  const server = createServer(listener)
  return await appOn(server, () => closeServer(server))
}

async function openExpress({ limiter, identify, released }: AppParts): Promise<App> {
  const app = express()
  app.use(
    expressLimiter(limiter, {
      ...(identify && { identify: (request) => identify(request.get('x-user') ?? null) }),
    }),
  )
  app.get('/', (request, response) => {
    response.json({ user: request.limits.identity.user })
  })
  app.get('/hold', async (request, response) => {
    await released()
    response.json({ user: request.limits.identity.user })
  })
  app.post('/chat/:used', async (request, response) => {
    response.json(await chat(request.limits, Number(request.params.used)))
  })
  app.post('/throw', () => {
    throw new Error('the handler fails')
  })
  app.use(expressLimitReached)
  // Else Express prints the error.
  app.set('env', 'test')
  const server = createServer(app)
  return await appOn(server, () => closeServer(server))
}

async function openFastify({ limiter, identify, released }: AppParts): Promise<App> {
  const app = fastify({ forceCloseConnections: true })
  await app.register(
    fastifyLimiter(limiter, {
      ...(identify && { identify: (request) => identify(textOf(request.headers['x-user'])) }),
    }),
  )
  app.get('/', async (request) => ({ user: request.limits.identity.user }))
  app.get('/hold', async (request) => {
    await released()
    return { user: request.limits.identity.user }
  })
  app.post<{ Params: { used: string } }>(
    '/chat/:used',
    async (request) => await chat(request.limits, Number(request.params.used)),
  )
  app.post('/throw', async () => {
    throw new Error('the handler fails')
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { url, [Symbol.asyncDispose]: async () => void (await app.close()) }
}

async function openHono({ limiter, identify, released }: AppParts): Promise<App> {
  const app = new Hono()
  app.use(
    honoLimiter(limiter, {
      ...(identify && { identify: (context) => identify(context.req.header('x-user') ?? null) }),
    }),
  )
  app.get('/', (context) => context.json({ user: context.var.limits.identity.user }))
  app.get('/hold', async (context) => {
    await released()
    return context.json({ user: context.var.limits.identity.user })
  })
  app.post('/chat/:used', async (context) =>
    context.json(await chat(context.var.limits, Number(context.req.param('used')))),
  )
  app.post('/throw', () => {
    throw new Error('the handler fails')
  })
  // Else Hono prints the error. What knows its own answer gives it, as by default.
  app.onError((error, context) =>
    'getResponse' in error ? error.getResponse() : context.json({ error: 'internal' }, 500),
  )
  const listener = getRequestListener(app.fetch)
  const server = createServer((request, response) => void listener(request, response))
  return await appOn(server, () => closeServer(server))
}

export const APPS = [
  { framework: 'node:http', openApp: openNode },
  { framework: 'express', openApp: openExpress },
  { framework: 'fastify', openApp: openFastify },
  { framework: 'hono', openApp: openHono },
]
