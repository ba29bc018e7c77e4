import { Hono } from 'hono'
import { expect, it, onTestFinished } from 'vitest'
import { honoLimiter } from './hono.ts'
import { createLimiter } from './limiter.ts'

/** An app without any socket, as on other runtimes; one request may be there at once. */
async function open() {
  const limiter = await createLimiter({ env: {}, shared: { concurrency: 1 } })
  onTestFinished(() => limiter.close())
  const app = new Hono()
  app.use(honoLimiter(limiter))
  app.get('/', (context) => context.body(new Blob(['one']).stream()))
  app.get('/endless', (context) => context.body(new ReadableStream({ pull() {} })))
  app.get('/broken', (context) =>
    context.body(
      new ReadableStream({
        pull() {
          throw new Error('the stream breaks')
        },
      }),
    ),
  )
  const inFlight = async () => (await limiter.snapshot())[0]?.inFlight
  return { app, inFlight }
}

it('a request holds its slot until its body has been read', async () => {
  const { app, inFlight } = await open()
  const response = await app.request('/')
  expect(await inFlight()).toBe(1)
  expect(await response.text()).toBe('one')
  expect(await inFlight()).toBe(0)
})

it('a body that nobody reads any more gives the slot back', async () => {
  const { app, inFlight } = await open()
  const response = await app.request('/endless')
  await response.body?.cancel()
  expect(await inFlight()).toBe(0)
})

it('a body that breaks gives the slot back', async () => {
  const { app, inFlight } = await open()
  const response = await app.request('/broken')
  await expect(response.text()).rejects.toThrow('the stream breaks')
  expect(await inFlight()).toBe(0)
})

it('a request for headers alone holds no slot after them', async () => {
  const { app, inFlight } = await open()
  const response = await app.request('/', { method: 'HEAD' })
  expect(response.status).toBe(200)
  expect(await inFlight()).toBe(0)
})

it('a request that is aborted while its handler works gives the slot back', async () => {
  const { app, inFlight } = await open()
  const aborting = new AbortController()
  const { promise, resolve } = Promise.withResolvers<void>()
  const reached = Promise.withResolvers<void>()
  app.get('/slow', async (context) => {
    reached.resolve()
    await promise
    return context.text('late')
  })
  const responding = app.request(new Request('http://api/slow', { signal: aborting.signal }))
  await reached.promise
  aborting.abort()
  expect(await inFlight()).toBe(0)
  resolve()
  await responding
})
