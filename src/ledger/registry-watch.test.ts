import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { LedgerUnavailable } from './ledger.ts'
import { RegistryWatch } from './registry-watch.ts'

const AWAY = new LedgerUnavailable('the disk is full')

/** A record whose answers wait: what is read is read at once, and arrives when `answer` lets it. */
function begin() {
  let revision = 0
  const answers: (() => void)[] = []
  const seen: number[] = []
  const watch = new RegistryWatch({
    clock: new VirtualClock(),
    registry: { revision, keys: [], overrides: [] },
    ledger: {
      revision() {
        const read = revision
        return new Promise((resolve, reject) =>
          answers.push(() => (read < 0 ? reject(AWAY) : resolve(read))),
        )
      },
      registry: async () => ({ revision, keys: [], overrides: [] }),
    },
    onChange: (registry) => seen.push(registry.revision),
    failed: (error) => {
      throw error
    },
  })
  return {
    watch,
    seen,
    change: (to: number) => {
      revision = to
    },
    answers,
    async answer() {
      await setImmediate()
      answers.shift()?.()
      await setImmediate()
    },
  }
}

test('whoever asks after a change gets to know it, though a look is under way', async () => {
  const { watch, seen, change, answer } = begin()
  const before = watch.look()
  await setImmediate()
  change(1)
  const after = watch.look()
  await answer()
  await before
  expect(seen).toEqual([])
  await answer()
  await after
  expect(seen).toEqual([1])
})

test('all who ask while a look is under way share the next', async () => {
  const { watch, answers, answer } = begin()
  const first = watch.look()
  await setImmediate()
  const rest = [watch.look(), watch.look()]
  await setImmediate()
  expect(answers).toHaveLength(1)
  await answer()
  await answer()
  await Promise.all([first, ...rest])
  expect(answers).toHaveLength(0)
})

test('a look that fails does not keep the next from being made', async () => {
  const { watch, seen, change, answer } = begin()
  change(-1)
  const refused = expect(watch.look()).rejects.toThrow(AWAY)
  await setImmediate()
  change(2)
  const next = watch.look()
  await answer()
  await refused
  await answer()
  await next
  expect(seen).toEqual([2])
})
