// A binary heap whose items know their own place, so that any item leaves in O(log n).
// Must not know: what is ordered, or by what.

export interface HeapItem {
  /** Kept by the heap: the item's index, or -1 outside of it. An item is in one heap at a time. */
  heapIndex: number
}

/** A min-heap: `peek` and `pop` give the item that `compare` puts first. */
export class Heap<T extends HeapItem> {
  readonly #items: T[] = []
  readonly #compare: (a: T, b: T) => number

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare
  }

  get size(): number {
    return this.#items.length
  }

  peek(): T | undefined {
    return this.#items[0]
  }

  push(item: T): void {
    this.#items.push(item)
    this.#rise(item, this.#items.length - 1)
  }

  pop(): T | undefined {
    const first = this.#items[0]
    if (first) this.remove(first)
    return first
  }

  /** Takes an item out. Returns false when it is not in the heap. */
  remove(item: T): boolean {
    const index = item.heapIndex
    if (index < 0 || this.#items[index] !== item) return false
    item.heapIndex = -1
    const last = this.#items.pop()
    if (last && last !== item) this.#settle(last, index)
    return true
  }

  /** Restores the order after the item's key has changed. */
  update(item: T): void {
    if (this.#items[item.heapIndex] === item) this.#settle(item, item.heapIndex)
  }

  #settle(item: T, index: number): void {
    const parent = this.#items[(index - 1) >> 1]
    if (index > 0 && parent && this.#compare(item, parent) < 0) this.#rise(item, index)
    else this.#sink(item, index)
  }

  #rise(item: T, from: number): void {
    let index = from
    while (index > 0) {
      const parentIndex = (index - 1) >> 1
      const parent = this.#items[parentIndex]
      if (!parent || this.#compare(parent, item) <= 0) break
      this.#place(parent, index)
      index = parentIndex
    }
    this.#place(item, index)
  }

  #sink(item: T, from: number): void {
    const items = this.#items
    let index = from
    for (;;) {
      let childIndex = 2 * index + 1
      let child = items[childIndex]
      if (!child) break
      const right = items[childIndex + 1]
      if (right && this.#compare(right, child) < 0) {
        child = right
        childIndex++
      }
      if (this.#compare(item, child) <= 0) break
      this.#place(child, index)
      index = childIndex
    }
    this.#place(item, index)
  }

  #place(item: T, index: number): void {
    this.#items[index] = item
    item.heapIndex = index
  }
}
