// The payloads of one job whose models share limits. Owns: when the next one of them is begun, and how many of them
// are under way. Must not know: where payloads come from, or what other groups do.
import { Carrier } from './carrier.ts'
import { Ceiling } from './ceiling.ts'
import type { RunParts } from './run-parts.ts'
import type { Task } from './task.ts'
import { WaitingPayloads } from './waiting-payloads.ts'
import { lookAt, WindowWatch } from './window-watch.ts'

/**
 * So many wait to be sent again before nothing new is begun: a few prompts that never succeed hold up nobody, and a
 * provider that is down is not asked for all there is.
 */
const MOST_RETRYING = 100

export class ModelGroup {
  readonly carrier: Carrier
  readonly waiting: WaitingPayloads<Task>
  readonly #name: string | null
  readonly #parts: RunParts
  readonly #ceiling: Ceiling
  readonly #windows: WindowWatch
  /** How many payloads of it were taken. */
  #taken = 0

  /** @param name of the limits that they share; null: of all models together */
  constructor(name: string | null, parts: RunParts) {
    const { options, changes, ending, tell } = parts
    const { dispatcher, maxInFlight, longWindows } = options
    this.#name = name
    this.#parts = parts
    this.#ceiling = new Ceiling({
      maxInFlight,
      clock: dispatcher.clock,
      look: (resource) => lookAt(dispatcher, resource),
      onChange: (choice) => {
        tell({ kind: 'in_flight', group: name, ...choice })
        changes.tell()
      },
    })
    const ceiling = this.#ceiling
    this.#windows = new WindowWatch({ dispatcher, longWindows, ceiling, ending, group: name, tell })
    this.carrier = new Carrier(parts, { ceiling, windows: this.#windows })
    this.waiting = new WaitingPayloads({
      begin: (task) => this.#begin(task),
      onBegun: () => changes.tell(),
      failed: (why) => ending.giveUp(why),
    })
    tell({ kind: 'in_flight', group: name, ...ceiling.choice })
  }

  /** How many may be under way. */
  get most(): number {
    return this.#ceiling.choice.chosen
  }

  /** Whether the next one could be begun at once. */
  get hasRoom(): boolean {
    return this.waiting.size === 0 && this.#hasPlace
  }

  add(task: Task): void {
    this.#taken++
    this.waiting.add(task)
  }

  /** What nobody has read yet takes a place as well. */
  get #hasPlace(): boolean {
    const { open, unread, retrying } = this.carrier
    const isFree = open - retrying + unread < this.most
    return isFree && retrying < Math.max(this.most, MOST_RETRYING)
  }

  async #begin(task: Task): Promise<void> {
    const { changes, ending, funds, options } = this.#parts
    while (!ending.isStopping && !this.#hasPlace) await changes.next()
    if (ending.isStopping) return
    if (options.dispatcher.isDraining) throw new Error('the gate of this job was closed')
    await this.#keepPace()
    if (await funds.setAside(task.worstNanoUsd)) this.carrier.carry(task)
  }

  async #keepPace(): Promise<void> {
    const { options, taken, tell, sleepUntil } = this.#parts
    const { count } = options
    if (count === null) return
    // Of those that nobody has seen yet as many are of this group as of the others.
    const unseen = (count - taken()) * (this.#taken / taken())
    const until = await this.#windows.paceAt(unseen + this.waiting.size, this.carrier.sentAt)
    if (until === null) return
    tell({ kind: 'held', by: 'pace', group: this.#name, until })
    await sleepUntil(until)
  }
}
