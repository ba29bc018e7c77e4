import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Heap } from './heap.ts'

interface Item {
  key: number
  heapIndex: number
}

type Step =
  | { readonly kind: 'push'; readonly key: number }
  | { readonly kind: 'pop' }
  | { readonly kind: 'remove'; readonly pick: number }
  | { readonly kind: 'rekey'; readonly pick: number; readonly key: number }

const key = fc.integer({ min: 0, max: 20 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), key }) },
  fc.record({ kind: fc.constant('pop' as const) }),
  fc.record({ kind: fc.constant('remove' as const), pick: fc.nat() }),
  fc.record({ kind: fc.constant('rekey' as const), pick: fc.nat(), key }),
)

function apply(heap: Heap<Item>, items: Item[], doing: Step): void {
  if (doing.kind === 'push') {
    const item = { key: doing.key, heapIndex: -1 }
    heap.push(item)
    items.push(item)
    return
  }
  if (doing.kind === 'pop') {
    const popped = heap.pop()
    expect(popped?.key).toBe(items.length ? Math.min(...items.map((item) => item.key)) : undefined)
    if (popped) items.splice(items.indexOf(popped), 1)
    return
  }
  const item = items[doing.pick % items.length]
  if (!item) return
  if (doing.kind === 'remove') {
    expect(heap.remove(item)).toBe(true)
    expect(item.heapIndex).toBe(-1)
    items.splice(items.indexOf(item), 1)
  } else {
    item.key = doing.key
    heap.update(item)
  }
}

describe('Heap', () => {
  it('gives items in order, whatever was removed and rekeyed in between', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const heap = new Heap<Item>((a, b) => a.key - b.key)
        const items: Item[] = []
        for (const doing of steps) {
          apply(heap, items, doing)
          expect(heap.size).toBe(items.length)
        }
        const sorted = items.map((item) => item.key).sort((a, b) => a - b)
        const popped = Array.from({ length: items.length }, () => heap.pop()?.key)
        expect(popped).toEqual(sorted)
        expect(heap.pop()).toBeUndefined()
      }),
    )
  })

  it('leaves an item of another heap alone', () => {
    const one = new Heap<Item>((a, b) => a.key - b.key)
    const other = new Heap<Item>((a, b) => a.key - b.key)
    const item = { key: 1, heapIndex: -1 }
    one.push(item)
    other.push({ key: 2, heapIndex: -1 })
    expect(other.remove(item)).toBe(false)
    other.update(item)
    expect(one.peek()).toBe(item)
    expect(other.size).toBe(1)
  })

  it('removes an item only once', () => {
    const heap = new Heap<Item>((a, b) => a.key - b.key)
    const item = { key: 1, heapIndex: -1 }
    heap.push(item)
    expect(heap.remove(item)).toBe(true)
    expect(heap.remove(item)).toBe(false)
  })
})
