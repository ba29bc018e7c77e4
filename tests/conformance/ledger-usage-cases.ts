// Usage events: what is kept, read back and summed.
import { describe, expect, test } from 'vitest'
import type { Ledger } from '../../src/ledger/ledger.ts'
import {
  beginAt,
  callOf,
  eventOf,
  type HomeOf,
  listOf,
  NOON,
  reservationOf,
  USD,
} from './ledger-under-test.ts'

const ALWAYS = { from: 0, to: Number.POSITIVE_INFINITY }

export function usageCases(home: HomeOf): void {
  const begin = async (): Promise<Ledger> => (await beginAt(home(), 'one', NOON)).ledger

  describe('usage', () => {
    test('is read back as it was told, at its reservation’s instant', async () => {
      const ledger = await begin()
      await ledger.reserve(reservationOf('a', USD, [], NOON + 0.75))
      const failed = eventOf('a', 0, { outcome: 'overloaded', outputTokens: 0, at: NOON + 100 })
      await ledger.record(failed)
      const answered = eventOf('a', 7, { attempt: 2, isExact: false, at: NOON + 900 })
      await ledger.settle(answered)
      expect(await listOf(ledger.events(ALWAYS))).toEqual([
        { ...failed, at: NOON },
        { ...answered, at: NOON },
      ])
    })

    test('sums up requests, their tokens, and what has no price', async () => {
      const ledger = await begin()
      await ledger.record(eventOf('a', 0, { outcome: 'rate_limited' }))
      await ledger.settle(eventOf('a', 3, { attempt: 2 }))
      await ledger.settle(eventOf('b', null))
      expect(await ledger.total(ALWAYS)).toEqual({
        cost: 3,
        requests: 2,
        unpriced: 1,
        tokens: {
          inputTokens: 30,
          cacheReadTokens: 60,
          cacheWriteTokens: 90,
          cacheWriteHourTokens: 15,
          outputTokens: 120,
        },
      })
    })

    test('is asked for by subject and time', async () => {
      const ledger = await begin()
      const ofTeam = callOf('b', { user: 'bob', team: 'research' })
      await ledger.settle(eventOf('a', 1))
      await ledger.settle({ ...eventOf('b', 2), call: ofTeam })
      await ledger.settle(eventOf('c', 4, { at: NOON + 1 }))
      const cost = async (query: object) => (await ledger.total({ ...ALWAYS, ...query })).cost
      expect(await cost({ subject: 'user:alice' })).toBe(5)
      expect(await cost({ subject: 'team:research' })).toBe(2)
      expect(await cost({ subject: 'user:nobody' })).toBe(0)
      expect(await cost({ from: NOON + 0.5 })).toBe(4)
      expect(await cost({ to: NOON + 1 })).toBe(3)
    })

    test('is read in order of time, however much there is', async () => {
      const ledger = await begin()
      const numbers = Array.from({ length: 4100 }, (_, index) => index)
      await Promise.all(
        numbers.map((n) => ledger.settle(eventOf(`r${n}`, n, { at: NOON + ((n * 7) % 100) }))),
      )
      const events = await listOf(ledger.events({ ...ALWAYS, subject: 'user:alice' }))
      const order = events.map(({ at }) => at)
      expect(order).toEqual(order.toSorted((a, b) => a - b))
      expect(new Set(events.map(({ call }) => call.id)).size).toBe(numbers.length)
      expect(await ledger.total(ALWAYS)).toMatchObject({ cost: (4100 * 4099) / 2, requests: 4100 })
    })
  })
}
