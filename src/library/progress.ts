// Tells those who wait where they stand. Owns: how often. Must not know: what they wait for.
import type { Progress } from '../client/lease.ts'
import type { Prediction } from '../core/admission.ts'
import type { Clock, EpochMs } from '../core/clock.ts'
import { Deadlines, type Due } from '../core/deadlines.ts'
import type { LeaseTurn } from '../dispatch/lease-turn.ts'
import { describeBinding } from '../dispatch/wait-message.ts'
import { call } from '../engine/listener.ts'

const EVERY_MS = 5000

type Tell = (progress: Progress) => unknown

class Report implements Due {
  readonly turn: LeaseTurn
  readonly tell: Tell
  dueAt: EpochMs = 0
  heapIndex = -1

  constructor(turn: LeaseTurn, tell: Tell) {
    this.turn = turn
    this.tell = tell
  }
}

export class ProgressReports {
  readonly #clock: Clock
  readonly #failed: (error: unknown) => void
  readonly #reports = new Map<LeaseTurn, Report>()
  readonly #schedule: Deadlines<Report>

  /** @param failed is told what the listeners throw. */
  constructor(clock: Clock, failed: (error: unknown) => void) {
    this.#clock = clock
    this.#failed = failed
    this.#schedule = new Deadlines(clock, (report) => this.#look(report))
  }

  /** Tells at once, and again and again until `end`. It may begin anew, in another line. */
  begin(turn: LeaseTurn, prediction: Prediction, tell: Tell): void {
    this.end(turn)
    const report = new Report(turn, tell)
    this.#reports.set(turn, report)
    this.#tell(report, prediction)
    this.#schedule.set(report, this.#clock.now() + EVERY_MS)
  }

  end(turn: LeaseTurn): void {
    const report = this.#reports.get(turn)
    if (report) this.#schedule.clear(report)
    this.#reports.delete(turn)
  }

  #look(report: Report): void {
    report.turn
      .position()
      .then((prediction) => {
        if (prediction && this.#isOn(report)) this.#tell(report, prediction)
      })
      .catch(this.#failed)
      .finally(() => {
        if (this.#isOn(report)) this.#schedule.set(report, this.#clock.now() + EVERY_MS)
      })
  }

  #isOn(report: Report): boolean {
    return this.#reports.get(report.turn) === report
  }

  #tell({ tell }: Report, { position, expectedAt, boundBy }: Prediction): void {
    const isKnown = Number.isFinite(expectedAt)
    const progress = {
      position,
      expectedInMs: isKnown ? Math.max(0, expectedAt - this.#clock.now()) : null,
      boundBy: boundBy && describeBinding(boundBy),
    }
    call(() => tell(progress), this.#failed)
  }
}
