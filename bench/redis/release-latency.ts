// How long after one process gives back the only slot another one hears that it is its own. Owns: the
// order in which both are told to act. Must not know: how they hear of it.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { News, Order } from './waiter.ts'

export interface ReleaseLatency {
  readonly releases: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly mostMs: number
}

const WARM_UP = 50

export async function measureReleaseLatency(
  url: string,
  releases: number,
): Promise<ReleaseLatency> {
  const [one, other] = [new Party(url), new Party(url)]
  await Promise.all([one.next('ready'), other.next('ready')])
  one.tell({ kind: 'enqueue', id: 'turn-0' })
  await one.next('granted')
  const delays: number[] = []
  for (let turn = 0; turn < WARM_UP + releases; turn++) {
    const [holder, waiter] = turn % 2 === 0 ? [one, other] : [other, one]
    waiter.tell({ kind: 'enqueue', id: `turn-${turn + 1}` })
    await waiter.next('enqueued')
    const granted = waiter.next('granted')
    holder.tell({ kind: 'settle', id: `turn-${turn}` })
    const [released, arrived] = await Promise.all([holder.next('settling'), granted])
    if (turn >= WARM_UP) delays.push(arrived - released)
  }
  await Promise.all([one.end(), other.end()])
  const sorted = delays.toSorted((a, b) => a - b)
  const quantile = (part: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
  return { releases, p50Ms: quantile(0.5), p99Ms: quantile(0.99), mostMs: quantile(1) }
}

class Party {
  readonly #child: ChildProcess

  constructor(url: string) {
    this.#child = fork(join(import.meta.dirname, 'waiter.ts'), [url])
  }

  tell(order: Order): void {
    this.#child.send(order)
  }

  /** The instant that the next news of a kind tells of; 0 where it tells none. */
  next(kind: News['kind']): Promise<number> {
    return new Promise((resolve) => {
      const hear = (news: News): void => {
        if (news.kind !== kind) return
        this.#child.off('message', hear)
        resolve('atMs' in news ? news.atMs : 0)
      }
      this.#child.on('message', hear)
    })
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }
}
