// Notices what changes in the gates: limits learnt, pauses, a line that forms. Owns: comparing what
// it sees with what it saw. Must not know: how it is told, or why anything changed.
import type { Clock, EpochMs } from '../../core/clock.ts'
import type { ResourceSnapshot } from '../../core/store.ts'
import type { Log } from '../../telemetry/log.ts'

/** A line of those who wait, and what its head waits for. */
export type WaitingLine = Pick<ResourceSnapshot, 'name' | 'queued' | 'oldestEnqueuedAt' | 'boundBy'>

export interface GateWatchOptions {
  readonly clock: Clock
  readonly log: Log
  readonly snapshot: () => Promise<readonly ResourceSnapshot[]>
  /** Told of each line that has not been told of for a while. */
  readonly waiting?: (line: WaitingLine) => void
}

/** A busy gateway is looked at no more often than this. */
const LOOK_EVERY_MS = 1000
/** A line that goes on is news only so often. */
const TELL_LINE_EVERY_MS = 10_000

/** What was last seen of a resource. */
interface Seen {
  readonly limits: ReadonlyMap<string, number>
  readonly pausedUntil: EpochMs | null
  readonly lineToldAt: EpochMs
}

const NOT_SEEN: Seen = {
  limits: new Map(),
  pausedUntil: null,
  lineToldAt: Number.NEGATIVE_INFINITY,
}

/** Looks when a call has ended, since nothing changes while nothing happens. */
export class GateWatch {
  readonly #options: GateWatchOptions
  #lookedAt: EpochMs = Number.NEGATIVE_INFINITY
  #seen: ReadonlyMap<string, Seen> = new Map()

  constructor(options: GateWatchOptions) {
    this.#options = options
  }

  look(): void {
    const { clock, log, snapshot } = this.#options
    const now = clock.now()
    if (now - this.#lookedAt < LOOK_EVERY_MS) return
    this.#lookedAt = now
    snapshot().then(
      (resources) => this.#compare(resources, now),
      (error: unknown) => log.error('a look at the gates', error),
    )
  }

  /** What is no longer there is forgotten with the old map. */
  #compare(resources: readonly ResourceSnapshot[], now: EpochMs): void {
    this.#seen = new Map(
      resources.map((resource) => {
        const seen = this.#seen.get(resource.name) ?? NOT_SEEN
        return [resource.name, this.#tell(resource, seen, now)]
      }),
    )
  }

  #tell(resource: ResourceSnapshot, seen: Seen, now: EpochMs): Seen {
    const { pausedUntil } = resource
    if (pausedUntil !== null && pausedUntil > Math.max(now, seen.pausedUntil ?? 0)) {
      const pausedMs = pausedUntil - now
      this.#options.log.event({ kind: 'resource.paused', resource: resource.name, pausedMs })
    }
    const isNews = resource.queued > 0 && now - seen.lineToldAt >= TELL_LINE_EVERY_MS
    if (isNews) this.#options.waiting?.(resource)
    return {
      limits: this.#tellLimits(resource, seen.limits),
      pausedUntil,
      lineToldAt: isNews ? now : seen.lineToldAt,
    }
  }

  #tellLimits(
    { name, limits }: ResourceSnapshot,
    seen: ReadonlyMap<string, number>,
  ): ReadonlyMap<string, number> {
    const known = new Map<string, number>()
    for (const { dimension, amount, windowMs, source } of limits) {
      if (source !== 'learnt' || windowMs === null) continue
      known.set(dimension, amount)
      if (seen.get(dimension) === amount) continue
      const learnt = { resource: name, dimension, amount, windowMs }
      this.#options.log.event({ kind: 'limits.learnt', ...learnt })
    }
    return known
  }
}
