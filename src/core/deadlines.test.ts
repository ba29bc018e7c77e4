import { describe, expect, it } from 'vitest'
import { VirtualClock } from './clock.ts'
import { Deadlines } from './deadlines.ts'

const itemOf = (name: string) => ({ name, dueAt: 0, heapIndex: -1 })

function open() {
  const clock = new VirtualClock(0)
  const called: string[] = []
  const deadlines = new Deadlines<ReturnType<typeof itemOf>>(clock, (item) =>
    called.push(`${item.name}@${clock.now()}`),
  )
  return { clock, called, deadlines }
}

describe('Deadlines', () => {
  it('calls each item at its instant, once', () => {
    const { clock, called, deadlines } = open()
    deadlines.set(itemOf('late'), 30)
    deadlines.set(itemOf('early'), 10)
    deadlines.set(itemOf('early too'), 10)
    clock.advanceTo(100)
    expect(called.sort()).toEqual(['early too@10', 'early@10', 'late@30'])
    expect(deadlines.size).toBe(0)
  })

  it('moves an item, and lets one go', () => {
    const { clock, called, deadlines } = open()
    const [moved, cleared, never] = [itemOf('moved'), itemOf('cleared'), itemOf('never')]
    for (const item of [moved, cleared, never]) deadlines.set(item, 10)
    deadlines.set(moved, 50)
    deadlines.set(never, Number.POSITIVE_INFINITY)
    deadlines.clear(cleared)
    clock.advanceTo(49)
    expect(called).toEqual([])
    deadlines.set(moved, 49.5)
    clock.advanceTo(100)
    expect(called).toEqual(['moved@49.5'])
  })

  it('calls at once, in a timer, what is overdue', () => {
    const { clock, called, deadlines } = open()
    clock.advanceTo(20)
    deadlines.set(itemOf('overdue'), 5)
    expect(called).toEqual([])
    clock.advanceTo(20)
    expect(called).toEqual(['overdue@20'])
  })

  it('has no timer once nobody is left', () => {
    const { clock, deadlines } = open()
    const item = itemOf('only')
    deadlines.set(item, 10)
    deadlines.clear(item)
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
    deadlines.set(item, 10)
    deadlines.stop()
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })

  it('bears being changed while it calls', () => {
    const clock = new VirtualClock(0)
    const called: number[] = []
    const item = itemOf('again')
    const deadlines = new Deadlines<typeof item>(clock, (due) => {
      called.push(clock.now())
      if (called.length < 3) deadlines.set(due, clock.now() + 5)
    })
    deadlines.set(item, 10)
    clock.advanceTo(100)
    expect(called).toEqual([10, 15, 20])
  })
})
