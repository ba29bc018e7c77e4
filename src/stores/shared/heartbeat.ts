// The process's signs of life, and what they bring back. Owns: one timer for all resources; finding
// that the shared gates do not have what the book has. Must not know: how that is mended.
import type { Clock, Timer } from '../../core/clock.ts'
import type { Beat, SharedGates } from '../shared-gates.ts'
import type { Book } from './book.ts'
import type { Passage } from './passage.ts'
import type { Side } from './side.ts'

const FIRST_BEAT_MS = 100
/** What is known of a resource's limits outlasts its last use by so long. */
const KEPT_IDLE_MS = 60_000
/** One may differ for a push that is on its way. */
const DISAGREEMENTS_BELIEVED = 2
/** Beats between operations differ by those; not each time, unless something is amiss. */
const BUSY_DISAGREEMENTS_BELIEVED = 5

export interface HeartbeatOptions {
  readonly clock: Clock
  readonly beatMs: number
  /** For how long the shared gates believe that a silent process lives. */
  readonly lifeMs: number
  readonly book: Book
  readonly shared: SharedGates
  readonly passage: Passage
  readonly failed: (error: unknown) => void
}

export class Heartbeat {
  readonly #options: HeartbeatOptions
  #timer: Timer | null = null
  #hasBeaten = false
  #isStopped = false

  constructor(options: HeartbeatOptions) {
    this.#options = options
  }

  /** Goes on by itself, as long as there is anything to keep alive. */
  start(): void {
    if (this.#timer || this.#isStopped) return
    const { beatMs, book, clock } = this.#options
    // The first tells how many share the gates, which nobody should be without when they are lost.
    const waitMs = this.#hasBeaten ? beatMs : Math.min(FIRST_BEAT_MS, beatMs)
    this.#hasBeaten = true
    this.#timer = clock.schedule(clock.now() + waitMs, () => {
      this.#timer = null
      for (const side of book.sides) this.#tend(side)
      if (book.sides.length > 0) this.start()
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #tend(side: Side): void {
    const { book, clock, lifeMs, passage } = this.#options
    const now = clock.now()
    // The gates end the tickets of silent holders by themselves; a renewal may have been late.
    for (const id of side.mortals.silentSince(now - lifeMs)) {
      const entry = book.find(id)
      if (entry) book.strike(entry)
    }
    if (side.isIdle && side.usedAt + KEPT_IDLE_MS <= now) {
      book.close(side)
      return
    }
    if (side.isLocal) passage.outage?.hold(side)
    else if (side.isSwitching || side.isBeating) return
    else if (side.tickets.size > 0 && side.beatenAt + lifeMs <= now) passage.rejoin(side)
    else if (side.tickets.size > 0 || side.usedAt > side.beatenAt)
      this.#beat(side).catch(this.#options.failed)
  }

  async #beat(side: Side): Promise<void> {
    const { clock, passage, shared } = this.#options
    const sentAt = clock.now()
    const wasQuiet = side.pending.count === 0
    const takenBefore = side.taken
    side.isBeating = true
    const turn = side.pending.started + 1
    try {
      await passage.ask(
        side,
        () => shared.beat(side.name),
        (beat) => {
          const isQuiet = wasQuiet && side.pending.started === turn
          if (this.#isAmiss(side, beat, isQuiet)) passage.rejoin(side)
          this.#options.book.instances = beat.instances
          side.heard(beat, shared.lifeOf(side.name), takenBefore)
          side.beatenAt = sentAt
        },
      )
    } finally {
      side.isBeating = false
    }
  }

  /** @param isQuiet whether nothing was under way meanwhile, so that the counts should be the same. */
  #isAmiss(side: Side, beat: Beat, isQuiet: boolean): boolean {
    const { waiting, held } = side.ownCounts()
    if (side.tickets.size === 0 && beat.waiting + beat.held === 0) return false
    if (side.life !== null && side.life !== this.#options.shared.lifeOf(side.name)) return true
    if (isQuiet && !beat.isKnown && waiting + held > 0) return true
    const agrees = waiting === beat.waiting && held === beat.held
    side.disagreements = agrees ? 0 : side.disagreements + 1
    return side.disagreements >= (isQuiet ? DISAGREEMENTS_BELIEVED : BUSY_DISAGREEMENTS_BELIEVED)
  }
}
