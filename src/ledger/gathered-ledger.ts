// A ledger over any database. Owns: what callers may rely on while the database is slow or away, and
// the form in which operations reach it. Must not know: SQL, files, servers.
import type { Clock, EpochMs } from '../core/clock.ts'
import type { LedgerBackend, LedgerResult, RecordAnswer } from './backend.ts'
import { CommitQueue } from './commit-queue.ts'
import { Heartbeat } from './heartbeat.ts'
import type {
  Balance,
  Budget,
  BudgetOverride,
  BudgetWarning,
  KeyRecord,
  Ledger,
  LedgerCall,
  Registry,
  Reservation,
  ReserveAnswer,
  SettleAnswer,
  SubjectName,
  UsageEvent,
  UsageQuery,
  UsageTotal,
} from './ledger.ts'
import type { LedgerEvents } from './ledger-events.ts'

/** How long a holder may be silent before what it had set aside is charged. */
export const LIFE_MS = 60_000
const PATIENCE_MS = 2000
const MOST_PENDING = 100_000
const BEATS_PER_LIFE = 3

export interface GatheredOptions {
  readonly clock: Clock
  readonly events: LedgerEvents
  /** @default 60,000 */
  readonly lifeMs?: number
  /** How long a reservation waits to be written before it is rejected. @default 2000 */
  readonly patienceMs?: number
  /** From so many unwritten records on, nothing new may begin. @default 100,000 */
  readonly mostPending?: number
  /** How long what nobody waits for may wait for company, so that fewer commits carry more. @default 0 */
  readonly lingerMs?: number
}

export class GatheredLedger implements Ledger {
  /** Begins with a sign of life. @throws LedgerUnavailable when it cannot be given. */
  static async start(backend: LedgerBackend, options: GatheredOptions): Promise<GatheredLedger> {
    const ledger = new GatheredLedger(backend, options)
    try {
      await ledger.#heartbeat.start()
    } catch (error) {
      await ledger.close(0)
      throw error
    }
    return ledger
  }

  readonly kind: Ledger['kind']
  readonly #clock: Clock
  readonly #events: LedgerEvents
  readonly #backend: LedgerBackend
  readonly #queue: CommitQueue
  readonly #heartbeat: Heartbeat
  #closing: Promise<void> | null = null

  private constructor(backend: LedgerBackend, options: GatheredOptions) {
    const { clock, events, lifeMs = LIFE_MS } = options
    const { patienceMs = PATIENCE_MS, mostPending = MOST_PENDING, lingerMs = 0 } = options
    this.kind = backend.kind
    this.#clock = clock
    this.#events = events
    this.#backend = backend
    this.#queue = new CommitQueue(backend, {
      clock,
      patienceMs,
      mostPending,
      lingerMs,
      events,
    })
    this.#heartbeat = new Heartbeat(backend, clock, lifeMs / BEATS_PER_LIFE, events)
  }

  get isAvailable(): boolean {
    return this.#queue.isAvailable
  }

  get pending(): number {
    return this.#queue.pending
  }

  async reserve(reservation: Reservation): Promise<ReserveAnswer> {
    const { call, budgets } = reservation
    for (const { subject } of budgets) checkBinds(subject, call)
    const whole = { ...reservation, at: Math.floor(reservation.at) }
    return reserveAnswer(await this.#queue.request({ kind: 'reserve', reservation: whole }))
  }

  settle(event: UsageEvent): Promise<SettleAnswer> {
    return quiet(this.#queue.tell({ kind: 'settle', event: inWholeMs(event) }).then(settleAnswer))
  }

  release(id: string): Promise<void> {
    return quiet(this.#queue.tell({ kind: 'release', id }).then(() => {}))
  }

  record(event: UsageEvent): Promise<void> {
    const written = this.#queue.tell({ kind: 'record', event: inWholeMs(event) })
    return quiet(written.then((result) => this.#tellSteps(recordAnswer(result))))
  }

  balances(budgets: readonly Budget[], at: EpochMs): Promise<readonly Balance[]> {
    return this.#backend.balances(budgets, Math.floor(at))
  }

  reset(budgets: readonly Budget[], at: EpochMs): Promise<readonly Balance[]> {
    return this.#backend.reset(budgets, Math.floor(at))
  }

  total(query: UsageQuery): Promise<UsageTotal> {
    return this.#backend.total(inWholeMsFrom(query))
  }

  events(query: UsageQuery): AsyncIterable<UsageEvent> {
    return this.#backend.events(inWholeMsFrom(query))
  }

  untold(): Promise<readonly BudgetWarning[]> {
    return this.#backend.untold(Math.floor(this.#clock.now()))
  }

  told(warning: BudgetWarning): Promise<void> {
    return this.#backend.told(warning)
  }

  registry(): Promise<Registry> {
    return this.#backend.registry()
  }

  revision(): Promise<number> {
    return this.#backend.revision()
  }

  addKey(record: KeyRecord): Promise<void> {
    const { createdAt, expiresAt, revokedAt } = record
    return this.#backend.addKey({
      ...record,
      createdAt: Math.floor(createdAt),
      expiresAt: expiresAt === null ? null : Math.floor(expiresAt),
      revokedAt: revokedAt === null ? null : Math.floor(revokedAt),
    })
  }

  revokeKey(id: string, at: EpochMs): Promise<boolean> {
    return this.#backend.revokeKey(id, Math.floor(at))
  }

  rotateKey(id: string, next: Parameters<Ledger['rotateKey']>[1]): Promise<boolean> {
    return this.#backend.rotateKey(id, {
      ...next,
      at: Math.floor(next.at),
      othersExpireAt: Math.floor(next.othersExpireAt),
    })
  }

  setOverride(override: BudgetOverride): Promise<void> {
    return this.#backend.setOverride(override)
  }

  removeOverride(subject: SubjectName): Promise<boolean> {
    return this.#backend.removeOverride(subject)
  }

  #tellSteps({ warnings }: RecordAnswer): void {
    if (warnings.length > 0) this.#events.warned(warnings)
  }

  close(withinMs: number): Promise<void> {
    this.#closing ??= this.#close(withinMs)
    return this.#closing
  }

  async #close(withinMs: number): Promise<void> {
    this.#heartbeat.end()
    await this.#queue.close(withinMs)
    await this.#backend.close()
  }
}

/** Its failure is told by `events.failed`: not everybody who tells waits to hear of it. */
function quiet<T>(written: Promise<T>): Promise<T> {
  written.catch(() => {})
  return written
}

/** A budget that its own spending did not reach would never be spent. */
function checkBinds(subject: SubjectName, { id, user, team }: LedgerCall): void {
  if (user !== null && subject === `user:${user}`) return
  if (team !== null && subject === `team:${team}`) return
  throw new Error(`a budget of ${subject} cannot bind request ${id} of user ${user}, team ${team}`)
}

function inWholeMs(event: UsageEvent): UsageEvent {
  return { ...event, at: Math.floor(event.at) }
}

/** The same events: all are at whole milliseconds. */
function inWholeMsFrom(query: UsageQuery): UsageQuery {
  const { MIN_SAFE_INTEGER: least, MAX_SAFE_INTEGER: most } = Number
  const whole = (at: EpochMs): EpochMs => Math.min(Math.max(Math.ceil(at), least), most)
  return { ...query, from: whole(query.from), to: whole(query.to) }
}

function reserveAnswer(result: LedgerResult): ReserveAnswer {
  if (result === null || !('kind' in result) || result.kind === 'recorded') throw otherAnswer()
  return result
}

function settleAnswer(result: LedgerResult): SettleAnswer {
  if (result === null || 'kind' in result) throw otherAnswer()
  return result
}

function recordAnswer(result: LedgerResult): RecordAnswer {
  if (result === null || !('kind' in result) || result.kind !== 'recorded') throw otherAnswer()
  return result
}

const otherAnswer = (): Error => new Error('the ledger answered something else')
