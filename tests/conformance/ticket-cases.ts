// What can be seen of those who are at a resource: one plain case each.
import { describe, expect, it } from 'vitest'
import { costOf } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import { Line, RESOURCE, START_AT, type StoreUnderTest } from './line.ts'

const SECOND = 1000

const slots = (amount: number): Limit => ({
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount,
  source: 'configured',
})

export function ticketCases(underTest: StoreUnderTest): void {
  const open = (amount: number) => Line.open(underTest, { limits: [slots(amount)] })
  const idsIn = async (line: Line, most?: number) => (await line.tickets(most)).map(({ id }) => id)

  describe('the tickets of a resource', () => {
    it('are leases and those that wait, with all that is known of them', async () => {
      const line = await open(1)
      const holder = { id: 'holder', ttlMs: 5 * SECOND }
      await line.add({ id: 'held', flow: 'ä / b', lane: 'high', input: 7, output: 3, holder })
      await line.wait(SECOND)
      await line.add({ id: 'waiting', flow: 'c', holder: { id: 'other', ttlMs: 3 * SECOND } })
      const [lease, waiting, ...others] = await line.tickets()
      expect(lease).toEqual({
        id: 'held',
        state: 'held',
        flow: 'ä / b',
        lane: 'high',
        estimate: costOf({ input_tokens: 7, output_tokens: 3 }),
        enqueuedAt: expect.closeTo(START_AT, 1),
        grantedAt: expect.closeTo(START_AT, 1),
        expiresAt: expect.closeTo(START_AT + 5 * SECOND, 1),
      })
      expect(waiting).toMatchObject({ id: 'waiting', state: 'waiting', flow: 'c', lane: 'normal' })
      expect(waiting?.enqueuedAt).toBeCloseTo(START_AT + SECOND, 1)
      expect(waiting?.grantedAt).toBeNull()
      expect(others).toEqual([])
    })

    it('last as long as was said last, be it shorter', async () => {
      const line = await open(2)
      await line.add({ holder: { id: 'holder', ttlMs: 5 * SECOND } })
      await line.add()
      for (const ttlMs of [60 * SECOND, 2 * SECOND]) {
        await line.renew('holder', ttlMs)
        const [mortal, lasting] = await line.tickets()
        expect(mortal?.expiresAt).toBeCloseTo(line.now + ttlMs, 1)
        expect(lasting?.expiresAt).toBeGreaterThan(line.now)
      }
      await line.wait(2 * SECOND)
      expect(await line.tickets()).toHaveLength(1)
    })

    it('stand in order of arrival, whoever goes first, and those aside among them', async () => {
      const line = await open(1)
      const place = {
        enqueuedAt: START_AT - SECOND,
        lane: 'normal' as const,
        laneSince: START_AT - SECOND,
        startTag: 0,
      }
      await line.add({ id: 'lease' })
      await line.add({ id: 'last' })
      await line.wait(1)
      await line.add({ id: 'urgent', lane: 'critical' })
      await line.add({ id: 'parked', parked: true })
      await line.add({ id: 'back', place })
      expect(await idsIn(line)).toEqual(['back', 'lease', 'last', 'urgent', 'parked'])
      await line.settle('lease')
      await line.bounce('urgent', { kind: 'overloaded', backoffMs: 5 * SECOND })
      const tickets = await line.tickets()
      expect(tickets.map(({ id, state }) => `${id} ${state}`)).toEqual([
        'back held',
        'last waiting',
        'urgent waiting',
        'parked waiting',
      ])
      expect(tickets.map(({ grantedAt }) => grantedAt === null)).toEqual([false, true, true, true])
    })

    it('are no more than were asked for', async () => {
      const line = await open(3)
      const all = new Set<string>()
      for (let count = 0; count < 20; count++) all.add(await line.add())
      const some = await idsIn(line, 8)
      expect(new Set(some).size).toBe(8)
      for (const id of some) expect(all).toContain(id)
      expect(await idsIn(line, 0)).toEqual([])
      expect(new Set(await idsIn(line, 20))).toEqual(all)
    })

    it('are shown one by one as they are together', async () => {
      const line = await open(1)
      const holder = { id: 'holder', ttlMs: 5 * SECOND }
      await line.add({ id: 'held', flow: 'ä / b', lane: 'high', input: 7, output: 3, holder })
      await line.wait(SECOND)
      await line.add({ id: 'waiting', flow: 'c', holder: { id: 'other', ttlMs: 3 * SECOND } })
      await line.add({ id: 'parked', parked: true })
      const all = await line.tickets()
      expect(all).toHaveLength(3)
      for (const ticket of all) expect(await line.store.ticket(RESOURCE, ticket.id)).toEqual(ticket)
    })

    it('are not shown where they are not, or are no more', async () => {
      const line = await open(1)
      const mortal = await line.add({ holder: { id: 'holder', ttlMs: SECOND } })
      const waiting = await line.add({ holder: { id: 'other', ttlMs: SECOND } })
      expect(await line.store.ticket('unheard of', 'nobody')).toBeNull()
      expect(await line.store.ticket(RESOURCE, 'nobody')).toBeNull()
      await line.leave(waiting)
      expect(await line.store.ticket(RESOURCE, waiting)).toBeNull()
      await line.wait(SECOND)
      expect(await line.store.ticket(RESOURCE, mortal)).toBeNull()
    })

    it('are those of before, wherever a resource has gone', async () => {
      if (underTest.exempt.includes('merge')) return
      const line = await open(1)
      for (const id of ['first', 'second']) await line.add({ id })
      await line.store.merge('resource', 'organization')
      for (const name of ['resource', 'organization']) {
        const tickets = await line.store.tickets(name, 10)
        expect(tickets.map(({ id }) => id)).toEqual(['first', 'second'])
        expect(await line.store.ticket(name, 'second')).toEqual(tickets[1])
      }
    })

    it('are none where nobody is, or nothing is known', async () => {
      const line = await open(1)
      expect(await line.store.tickets('unheard of', 10)).toEqual([])
      await line.settle(await line.add())
      expect(await line.tickets()).toEqual([])
    })
  })
}
