import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import type { LedgerOperation, LedgerResult } from './backend.ts'
import { CommitQueue } from './commit-queue.ts'
import { type Budget, LedgerUnavailable } from './ledger.ts'

const AWAY = new LedgerUnavailable('the disk is full')
const PATIENCE_MS = 2000

/** A queue over a database that answers each commit when it is told to. */
function begin({ mostPending = 1000, lingerMs = 0 } = {}) {
  const clock = new VirtualClock()
  const told: string[] = []
  const commits: string[][] = []
  let answer: (outcome: 'written' | Error) => void = () => {}
  const commit = (operations: readonly LedgerOperation[]): Promise<readonly LedgerResult[]> => {
    commits.push(operations.map(nameOf))
    return new Promise((resolve, reject) => {
      answer = (outcome) =>
        outcome === 'written' ? resolve(operations.map(() => null)) : reject(outcome)
    })
  }
  const queue = new CommitQueue(
    { commit },
    {
      clock,
      patienceMs: PATIENCE_MS,
      mostPending,
      lingerMs,
      events: {
        unavailable: (why) => told.push(`unavailable: ${why}`),
        returned: (afterMs, pending) => told.push(`returned after ${afterMs}, ${pending} pending`),
        failed: (error) => told.push(`failed: ${error.message}`),
      },
    },
  )
  return {
    clock,
    told,
    commits,
    queue,
    /** Answers the commit under way, and lets what follows from it happen. */
    async answer(outcome: 'written' | Error) {
      await setImmediate()
      answer(outcome)
      await setImmediate()
    },
    async advance(ms: number) {
      await setImmediate()
      clock.advanceTo(clock.now() + ms)
      await setImmediate()
    },
  }
}

function nameOf(operation: LedgerOperation): string {
  if (operation.kind === 'reserve') return `reserve ${operation.reservation.call.id}`
  return operation.kind === 'release' ? `release ${operation.id}` : operation.kind
}

function reserve(id: string, budgets: readonly Budget[] = []) {
  const names = { user: null, team: null, key: null, tier: null, model: null }
  const call = { id, provider: 'anthropic', ...names }
  return { kind: 'reserve', reservation: { call, at: 0, amount: 1, budgets } } as const
}

const release = (id: string) => ({ kind: 'release', id }) as const

describe('a queue of commits', () => {
  test('gathers what comes while a commit is under way', async () => {
    const { queue, commits, answer } = begin()
    const written = ['a', 'b', 'c', 'd'].map(release)
    const first = queue.tell(written[0] ?? release(''))
    await setImmediate()
    const rest = written.slice(1).map((one) => queue.tell(one))
    await answer('written')
    await answer('written')
    await Promise.all([first, ...rest])
    expect(commits).toEqual([['release a'], ['release b', 'release c', 'release d']])
  })

  test('keeps what could not be written, in order, and tries again after growing pauses', async () => {
    const { queue, commits, answer, advance, told } = begin()
    const first = queue.tell(release('a'))
    await answer(AWAY)
    const second = queue.tell(release('b'))
    expect(queue.isAvailable).toBe(false)
    await advance(99)
    expect(commits).toHaveLength(1)
    await advance(1)
    await answer(AWAY)
    await advance(199)
    expect(commits).toHaveLength(2)
    await advance(1)
    expect(commits.at(-1)).toEqual(['release a', 'release b'])
    await answer('written')
    await Promise.all([first, second])
    expect(told).toEqual(['unavailable: the disk is full', 'returned after 300, 0 pending'])
    expect(queue.isAvailable).toBe(true)
    expect(queue.pending).toBe(0)
  })

  test('pauses for five seconds at the longest', async () => {
    const { queue, commits, answer, advance } = begin()
    void queue.tell(release('a'))
    for (let tries = 1; tries <= 8; tries++) {
      await answer(AWAY)
      await advance(5000)
      expect(commits).toHaveLength(tries + 1)
    }
  })
})

describe('a reservation that waits too long', () => {
  test('is never written when no commit has tried it', async () => {
    const { queue, commits, answer, advance } = begin()
    const first = queue.tell(release('x'))
    await setImmediate()
    const refused = expect(queue.request(reserve('a'))).rejects.toThrow(LedgerUnavailable)
    await advance(PATIENCE_MS)
    await refused
    expect(queue.pending).toBe(1)
    await answer('written')
    await first
    expect(commits).toEqual([['release x']])
  })

  test('is taken back when a commit that failed may have written it', async () => {
    const { queue, commits, answer, advance } = begin()
    const refused = expect(queue.request(reserve('a'))).rejects.toThrow(/the disk is full/)
    await answer(AWAY)
    await advance(100)
    await answer(AWAY)
    await advance(PATIENCE_MS)
    await refused
    await answer('written')
    expect(commits.at(-1)).toEqual(['release a'])
    expect(queue.pending).toBe(0)
  })

  test('is taken back when its commit succeeds after all, before anything newer', async () => {
    const { queue, commits, answer, advance } = begin()
    const refused = expect(queue.request(reserve('a'))).rejects.toThrow(LedgerUnavailable)
    await advance(PATIENCE_MS)
    await refused
    void queue.request(reserve('a'))
    await answer('written')
    await answer('written')
    expect(commits).toEqual([['reserve a'], ['release a', 'reserve a']])
  })
})

test('when much is unwritten nothing new may begin, and what ends is kept', async () => {
  const { queue } = begin({ mostPending: 2 })
  void queue.tell(release('a'))
  void queue.tell(release('b'))
  await expect(queue.request(reserve('c'))).rejects.toThrow(LedgerUnavailable)
  void queue.tell(release('d'))
  expect(queue.pending).toBe(3)
})

test('what can never be written is told of, and does not hold up the rest', async () => {
  const { queue, commits, answer, told } = begin()
  const [good, bad, last] = ['good', 'bad', 'last'].map((id) => queue.tell(release(id)))
  await answer(new Error('it makes no sense'))
  await answer('written')
  await answer(new Error('it makes no sense'))
  await answer('written')
  expect(await Promise.all([good, last])).toEqual([null, null])
  await expect(bad).rejects.toThrow('it makes no sense')
  expect(commits.slice(1)).toEqual([['release good'], ['release bad'], ['release last']])
  expect(told).toEqual(['failed: it makes no sense'])
  expect(queue.pending).toBe(0)
})

describe('closing', () => {
  test('writes what there is first, without waiting out a pause', async () => {
    const { queue, answer } = begin()
    const written = queue.tell(release('a'))
    await answer(AWAY)
    const closed = queue.close(1000)
    await answer('written')
    await Promise.all([written, closed])
    await expect(queue.request(reserve('b'))).rejects.toThrow(/closed/)
  })

  test('tells of what could not be written in time', async () => {
    const { queue, answer, advance, told } = begin()
    const lost = expect(queue.tell(release('a'))).rejects.toThrow(LedgerUnavailable)
    await answer(AWAY)
    const closed = queue.close(1000)
    await answer(AWAY)
    await advance(100)
    await answer(AWAY)
    await advance(900)
    await closed
    await answer(AWAY)
    await lost
    expect(told.at(-1)).toMatch(/^failed: closed before this was written/)
  })
})

const BUDGET: Budget = {
  subject: 'user:alice',
  amount: 10,
  period: { unit: 'month', timeZone: 'UTC' },
  warnAt: [],
  isShadow: false,
}

describe('what nobody waits for', () => {
  const settle = (id: string): LedgerOperation => ({ kind: 'release', id })

  test('waits a moment for company, and no longer', async () => {
    const { queue, commits, advance } = begin({ lingerMs: 20 })
    void queue.tell(settle('a'))
    await advance(19)
    void queue.tell(settle('b'))
    expect(commits).toEqual([])
    await advance(1)
    expect(commits).toEqual([['release a', 'release b']])
  })

  test('goes with whatever somebody waits for, at once', async () => {
    const { queue, commits, advance } = begin({ lingerMs: 20 })
    void queue.tell(settle('a'))
    await advance(5)
    void queue.request(reserve('b', [BUDGET]))
    await advance(0)
    expect(commits).toEqual([['release a', 'reserve b']])
  })

  test('is written at the end without further ado', async () => {
    const { queue, commits, advance } = begin({ lingerMs: 20 })
    void queue.tell(settle('a'))
    await advance(0)
    void queue.close(1000)
    await advance(0)
    expect(commits).toEqual([['release a']])
  })
})
