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
resources: { one: { concurrency: 1 }, hourly: { tokens: 1000/hour sliding } }
log: { format: json }
`

async function startTwo(): Promise<readonly [GatewayProcess, GatewayProcess]> {
  const { url } = await sharedRedis()
  const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-leases-'))
  cleanUps.push(() => rm(folder, { recursive: true }))
  const file = path.join(folder, 'headgate.yaml')
  await writeFile(file, CONFIG)
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
