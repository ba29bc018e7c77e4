// What sends a job's prompts: an engine by the settings, and a fleet in its line. Owns: opening and closing
// both, and what the line looks like from here. Must not know: files, or how anything is shown.
import type { Clock } from '../core/clock.ts'
import { NANO_PER_USD } from '../core/money.ts'
import type { ResourceSnapshot, Store } from '../core/store.ts'
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { DispatchEvents } from '../dispatch/events.ts'
import { putEngine } from '../engine/behind.ts'
import { type Engine, openEngine } from '../engine/engine.ts'
import { engineEvents, gateEvents } from '../engine/program-events.ts'
import type { FleetEvent } from '../fleet/events.ts'
import { Fleet } from '../fleet/fleet.ts'
import type { PromptSender } from '../fleet/job/job.ts'
import type { Settings } from '../policy/settings.ts'
import { bindingInWords } from './log/story.ts'
import type { RunFlags } from './run-flags.ts'
import type { JobFacts } from './run-progress.ts'

export interface JobFleetOptions {
  readonly settings: Settings
  readonly flags: Pick<RunFlags, 'maxInFlight' | 'lane' | 'longWindows' | 'within'>
  readonly apiKey: string
  /** Nano-dollars that may be spent from now on; null where nothing bounds them. */
  readonly moneyLeft: number | null
  readonly clock: Clock
  readonly random: () => number
  /** Aborted when nothing is to be waited for. */
  readonly abort: AbortSignal
  readonly warned: (sentence: string) => void
  readonly onEvent: (event: FleetEvent) => void
  /** The provider said no, or could not be reached, and the gate sends it again. */
  readonly onBounced?: (reason: Bounced[1], status: Bounced[2]) => void
}

type Bounced = Parameters<DispatchEvents['bounced']>

export interface JobFleet {
  readonly sender: PromptSender
  waitsFor(): Promise<JobFacts['waitsFor']>
  close(): Promise<void>
}

type EngineOptions = Pick<JobFleetOptions, 'settings' | 'clock' | 'random' | 'warned' | 'onBounced'>

/** @throws what `explained` explains, where store or ledger are not what they should be */
export async function openJobEngine(options: EngineOptions): Promise<Engine> {
  const { settings, clock, random, warned, onBounced } = options
  const events = gateEvents({
    warned,
    budgetWarned: ({ subject, step }) => warned(`the budget of ${subject} has passed ${step} %`),
    bounced: (_, reason, status) => onBounced?.(reason, status),
    failed: (error) => warned(error instanceof Error ? error.message : String(error)),
  })
  const engine = await openEngine({
    settings,
    clock,
    random,
    events: engineEvents(events),
    keepsBooks: false,
  })
  for (const warning of engine.warnings) warned(warning)
  return engine
}

/** @throws as `openJobEngine` does */
export async function openJobFleet(options: JobFleetOptions): Promise<JobFleet> {
  const { settings, flags, apiKey, moneyLeft, abort, onEvent } = options
  const engine = await openJobEngine(options)
  const { maxInFlight, lane, longWindows, within } = flags
  const { baseUrl } = settings.providers.anthropic
  const fleet = new Fleet({
    gate: gateOf(engine),
    apiKey,
    maxInFlight,
    lane,
    longWindows,
    onEvent,
    // Named, it may be another gate, and is told the lane.
    ...(baseUrl === null ? {} : { baseUrl }),
    ...(within === undefined ? {} : { within }),
    // Batches of earlier runs are paid for, and waited for, where no money is left for more.
    ...(moneyLeft === null ? {} : { maxSpendUsd: Math.max(moneyLeft, 1) / NANO_PER_USD }),
  })
  return {
    sender: fleet,
    waitsFor: () => waitsFor(engine.store),
    async close() {
      await fleet.close()
      await drain(engine.dispatcher, abort)
      await engine.close()
    },
  }
}

/** A batch that is just being created is waited for, unless nobody wants to: then the next run looks for it. */
async function drain(dispatcher: Dispatcher, abort: AbortSignal): Promise<void> {
  const leave = (): void => dispatcher.abortAll()
  abort.addEventListener('abort', leave)
  if (abort.aborted) leave()
  await dispatcher.drain()
  abort.removeEventListener('abort', leave)
}

/** A fleet knows an engine by what stands in front of it. */
function gateOf(engine: Engine): object {
  const gate = {}
  putEngine(gate, engine)
  return gate
}

/** What holds up the one that has waited for longest. */
async function waitsFor(store: Store): Promise<JobFacts['waitsFor']> {
  const waiting = (await store.snapshot()).filter(({ queued }) => queued > 0)
  const age = ({ oldestEnqueuedAt }: ResourceSnapshot): number => oldestEnqueuedAt ?? 0
  const [oldest] = waiting.sort((a, b) => age(a) - age(b))
  if (!oldest?.boundBy) return null
  return { what: bindingInWords(oldest.boundBy), until: oldest.nextAt }
}
