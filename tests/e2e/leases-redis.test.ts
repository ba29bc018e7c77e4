// Leases where gates share a Redis: whichever gate dies or stops, those who wait keep their places, and
// those who hold keep their leases.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { type GatewayProcess, startGateway } from '../gateway-process.ts'
import { until } from '../harness.ts'
import { acquire, askGate, hold, LEASES, settle, watch } from '../lease-caller.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const CONFIG = `
resources: { one: { concurrency: 1 }, hourly: { tokens: 1000/hour sliding }, wide: { concurrency: 9 } }
tiers: { alone: { concurrency: 1, overflow: wait } }
users: { alice: { tier: alone } }
log: { format: json }
`

async function startTwo(more = ''): Promise<readonly [GatewayProcess, GatewayProcess]> {
  const { url } = await sharedRedis()
  const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-leases-'))
  cleanUps.push(() => rm(folder, { recursive: true }))
  const file = path.join(folder, 'headgate.yaml')
  await writeFile(file, `${CONFIG}${more}\n`)
  const store = `${url}?prefix=${freshPrefix()}`
  const start = async () => {
    const gate = await startGateway('--config', file, '--store', store)
    cleanUps.push(() => gate.kill())
    return gate
  }
  return [await start(), await start()]
}

const one = { resource: 'one', ttlMs: 60_000 }
const keyed = (key: string, isBack = false) => ({
  headers: { 'idempotency-key': key, ...(isBack && { 'x-headgate-resume': '1' }) },
})

it('a gate that is killed loses no place and no lease', async () => {
  const [dying, other] = await startTwo()
  const held = await hold(dying.url, one)
  const first = await watch(dying.url, one, keyed('first'))
  const { id } = await first.saw('waiting')
  const second = await watch(other.url, one, keyed('second'))
  expect(await second.saw('waiting')).toMatchObject({ position: 1 })
  await dying.kill()
  await until(() => first.isOver)
  const back = await watch(other.url, one, keyed('first', true))
  const place = await back.saw('waiting')
  expect([place.id, place.position, place.placeLost]).toEqual([id, 0, undefined])
  expect((await settle(other.url, held)).status).toBe(200)
  expect(await back.saw('granted')).toMatchObject({ id })
  expect(second.events.map(({ name }) => name)).not.toContain('granted')
  await settle(other.url, id ?? '')
  await second.saw('granted')
})

it('a lease that came while its gate was dead is there for whoever asks again', async () => {
  const [dying, other] = await startTwo()
  const held = await hold(other.url, one)
  const waiting = await watch(dying.url, one, keyed('mine'))
  const { id } = await waiting.saw('waiting')
  await dying.kill()
  await settle(other.url, held)
  const { status, document } = await acquire(other.url, one, keyed('mine', true))
  expect([status, document.id]).toEqual([201, id])
  const renewed = await askGate(other.url, `${LEASES}/${id}/renew`, {
    method: 'POST',
    body: { ttlMs: 30_000 },
  })
  expect(renewed.status).toBe(200)
})

it('a gate that is stopped sends those who wait to another, where they have their places', async () => {
  const [stopping, other] = await startTwo()
  const held = await hold(stopping.url, one)
  const first = await watch(stopping.url, one, keyed('first'))
  const { id } = await first.saw('waiting')
  const second = await watch(other.url, one, keyed('second'))
  await second.saw('waiting')
  expect(await stopping.terminate()).toBe(0)
  expect(await first.saw('refused')).toMatchObject({ status: 503, reason: 'shutting_down' })
  const back = await watch(other.url, one, keyed('first', true))
  expect(await back.saw('waiting')).toMatchObject({ id, position: 0 })
  expect((await settle(other.url, held)).status).toBe(200)
  expect(await back.saw('granted')).toMatchObject({ id })
})

it('an ask that moves to another gate while the first one lives is granted there', async () => {
  const [left, other] = await startTwo()
  const held = await hold(left.url, one)
  const lost = await watch(left.url, one, keyed('mine'))
  const { id } = await lost.saw('waiting')
  lost.hangUp()
  const back = await watch(other.url, one, keyed('mine', true))
  expect(await back.saw('waiting')).toMatchObject({ id, position: 0 })
  await settle(left.url, held)
  expect(await back.saw('granted')).toMatchObject({ id })
  const { document } = await askGate(left.url, `${LEASES}?resource=one`)
  expect(document.leases).toMatchObject([{ id, state: 'held' }])
  expect((await settle(left.url, id ?? '')).status).toBe(200)
  const { document: rest } = await askGate(other.url, `${LEASES}?resource=one`)
  expect(rest.leases).toEqual([])
})

it('a gate whose client went elsewhere ends nothing there when the wait is over', async () => {
  const [left, other] = await startTwo()
  const held = await hold(left.url, one)
  const lost = await watch(left.url, { ...one, maxWaitMs: 2500 }, keyed('mine'))
  const { id } = await lost.saw('waiting')
  // The first gate does not know that its client is gone.
  const back = await watch(other.url, one, keyed('mine', true))
  expect(await back.saw('waiting')).toMatchObject({ id, position: 0 })
  await settle(left.url, held)
  expect(await back.saw('granted')).toMatchObject({ id })
  // Whoever still listens there is told.
  expect(await lost.saw('refused')).toMatchObject({ reason: 'cancelled' })
  await until(() => lost.isOver)
  // Behind whatever the first gate has still said of it.
  const { document } = await askGate(left.url, `${LEASES}/${id}`)
  expect(document).toMatchObject({ id, state: 'held' })
  expect((await settle(other.url, id ?? '')).status).toBe(200)
})

it('an ask that waits for a limit of its caller’s own is known to every gate', async () => {
  const [waitingHere, other] = await startTwo()
  const ofAlice = { 'x-headgate-user': 'alice' }
  const held = await hold(other.url, { resource: 'wide' }, { headers: ofAlice })
  const asking = (key: string, isBack = false) => ({
    headers: { ...keyed(key, isBack).headers, ...ofAlice },
  })
  const lost = await watch(waitingHere.url, { resource: 'wide', ttlMs: 60_000 }, asking('mine'))
  const { id } = await lost.saw('waiting')
  const { document } = await askGate(other.url, `${LEASES}/${id}`, { headers: ofAlice })
  expect(document).toMatchObject({ id, resource: 'wide', state: 'waiting', position: 0 })
  expect((await settle(other.url, id ?? '', { headers: ofAlice })).status).toBe(409)
  lost.hangUp()
  const back = await watch(other.url, { resource: 'wide', ttlMs: 60_000 }, asking('mine', true))
  const place = await back.saw('waiting')
  expect([place.id, place.position, place.placeLost]).toEqual([id, 0, undefined])
  await settle(other.url, held, { headers: ofAlice })
  expect(await back.saw('granted')).toMatchObject({ id })
  const path = `${LEASES}/${id}`
  const gone = await askGate(waitingHere.url, path, { method: 'DELETE', headers: ofAlice })
  expect(gone.status).toBe(204)
  expect((await settle(other.url, id ?? '', { headers: ofAlice })).status).toBe(404)
})

it('what a lease used is counted by whichever gate is told', async () => {
  const [granting, other] = await startTwo()
  const id = await hold(granting.url, { resource: 'hourly', load: 900 })
  await settle(other.url, id, { body: { actual: { tokens: 100 } } })
  const { document } = await askGate(granting.url, '/headgate/v1/check', {
    method: 'POST',
    body: { resource: 'hourly', load: { tokens: 900 } },
  })
  expect(document).toMatchObject({ allowed: true, count: 1000, max: 1000 })
})

it('an ask on two live connections is granted once', async () => {
  const [first, second] = await startTwo()
  const held = await hold(first.url, one)
  const here = await watch(first.url, one, keyed('mine'))
  const { id } = await here.saw('waiting')
  const there = await watch(second.url, one, keyed('mine'))
  expect(await here.saw('refused')).toMatchObject({ reason: 'cancelled' })
  await settle(first.url, held)
  expect(await there.saw('granted')).toMatchObject({ id })
  expect(here.events.map(({ name }) => name)).not.toContain('granted')
})

it('an ask that is cancelled at another gate is over where it waits', async () => {
  const [first, second] = await startTwo()
  const held = await hold(first.url, one)
  const waiting = await watch(first.url, one)
  const { id } = await waiting.saw('waiting')
  expect((await askGate(second.url, `${LEASES}/${id}`, { method: 'DELETE' })).status).toBe(204)
  expect(await waiting.saw('refused')).toMatchObject({ reason: 'cancelled' })
  expect((await settle(first.url, held)).status).toBe(200)
})

it('leases that end at another gate count no more where they were granted', async () => {
  const [granting, other] = await startTwo('leases: { max_per_caller: 3 }')
  for (let count = 0; count < 9; count++) {
    const id = await hold(granting.url, { resource: 'hourly' })
    expect((await settle(other.url, id)).status).toBe(200)
    // What the other gate tells of it may come a moment later.
    await until(async () => {
      const { status } = await askGate(granting.url, `${LEASES}/${id}`)
      return status === 404
    })
  }
})
