// One run of the demo: a provider, perhaps a gate, and the agents, all in this process on loopback
// sockets and on one clock. Owns: starting and ending them. Must not know: how the run is shown.
import { devNull } from 'node:os'
import { type Clock, type EpochMs, realClock } from '../../core/clock.ts'
import { seededRandom } from '../../core/random.ts'
import { type Emulator, startEmulator } from '../../emulator/emulator.ts'
import { loadSettings } from '../../policy/resolve.ts'
import { type GatewayEvents, wire } from '../wire.ts'
import { Agent, type AgentPlan } from './agent.ts'

export interface RunOptions {
  readonly plans: readonly AgentPlan[]
  readonly withGate: boolean
  /** How many times as fast as real time the clock of all taking part runs. */
  readonly speed: number
  readonly seed: number
  readonly stop: AbortSignal
  readonly tell: (run: DemoRun, agent: Agent, what: string) => void
}

/** A run at one instant, as it is shown. */
export interface RunFacts {
  readonly withGate: boolean
  readonly agents: readonly AgentFacts[]
  readonly now: EpochMs
  readonly elapsedMs: number
  readonly inputTokensLastMinute: number
  /** How often the provider said 429, to agents or to the gate. */
  readonly providerRefusals: number
}

export type AgentFacts = Pick<
  Agent,
  'plan' | 'state' | 'stepsDone' | 'refusals' | 'longestWaitMs' | 'inputTokensSpent'
>

const MINUTE_MS = 60_000

export class DemoRun {
  readonly withGate: boolean
  readonly agents: readonly Agent[]
  readonly #clock: Clock
  readonly #emulator: Emulator
  readonly #startedAt: EpochMs
  readonly #stop: AbortSignal
  readonly #pace = new Pace()
  readonly #closeGate: () => Promise<void>
  #endedAt: EpochMs | null = null

  private constructor(
    { plans, withGate, seed, stop, tell }: RunOptions,
    { clock, emulator, gate }: { clock: Clock; emulator: Emulator; gate: Gate | null },
  ) {
    this.withGate = withGate
    this.#clock = clock
    this.#emulator = emulator
    this.#closeGate = gate?.close ?? (async () => {})
    this.#startedAt = clock.now()
    this.#stop = stop
    const world = {
      baseUrl: gate?.url ?? emulator.url,
      clock,
      random: seededRandom(seed),
      stop,
      tell: (agent: Agent, what: string) => tell(this, agent, what),
    }
    this.agents = plans.map((plan) => new Agent(plan, world))
  }

  /** Starts the provider and the gate. */
  static async open(options: RunOptions): Promise<DemoRun> {
    const clock = realClock(options.speed)
    const random = seededRandom(options.seed)
    const emulator = await startEmulator({ clock, random })
    const gate = options.withGate ? await openGate(emulator.url, clock, random) : null
    return new DemoRun(options, { clock, emulator, gate })
  }

  /** Lets all agents work, and resolves when the last has ended. */
  async finish(): Promise<void> {
    await Promise.all(this.agents.map((agent) => this.#unlessStopped(agent.run())))
    this.#endedAt = this.#clock.now()
    await this.#closeGate()
    await this.#emulator.close()
  }

  /** How things stand, in the time of the agents. */
  facts(): RunFacts {
    const { withGate, agents } = this
    const { totals } = this.#emulator.report()
    const now = this.#endedAt ?? this.#clock.now()
    const { refusedForRequests, refusedForInputTokens, refusedForOutputTokens, inputTokens } =
      totals
    return {
      withGate,
      agents,
      now,
      elapsedMs: now - this.#startedAt,
      inputTokensLastMinute: this.#pace.lastMinute(now, inputTokens),
      providerRefusals: refusedForRequests + refusedForInputTokens + refusedForOutputTokens,
    }
  }

  /** A request that was cut off by the wish to stop has not failed. */
  async #unlessStopped(work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      if (!this.#stop.aborted) throw error
    }
  }
}

/** How much came in the last minute, from counts of all that has come so far. */
class Pace {
  readonly #samples: { readonly at: EpochMs; readonly total: number }[] = []

  lastMinute(now: EpochMs, total: number): number {
    this.#samples.push({ at: now, total })
    while ((this.#samples[1]?.at ?? now) < now - MINUTE_MS) this.#samples.shift()
    const [oldest] = this.#samples
    // Before a minute has passed, all that has come is of the last minute.
    return oldest && oldest.at < now - MINUTE_MS ? total - oldest.total : total
  }
}

interface Gate {
  readonly url: string
  readonly close: () => Promise<void>
}

/** A gateway with all its defaults: it knows nothing of the limits and has to learn them. */
async function openGate(upstream: string, clock: Clock, random: () => number): Promise<Gate> {
  // An empty file instead of the user's own.
  const flags = {
    config: devNull,
    ledger: 'off',
    port: '0',
    upstream: [`anthropic=${upstream}`],
  }
  const { settings } = loadSettings(flags, {})
  const { gateway, close } = await wire({ settings, clock, random, events: UNHEARD })
  return { url: await gateway.listen(), close }
}

/** The demo shows what agents see. A broken gate must not look like a result: it ends the demo. */
const UNHEARD: GatewayEvents = {
  settled: () => {},
  refused: () => {},
  cancelled: () => {},
  bounced: () => {},
  shadowed: () => {},
  budgetWarned: () => {},
  turnedAway: () => {},
  warned: () => {},
  ledgerUnavailable: () => {},
  ledgerReturned: () => {},
  ledgerRecovered: () => {},
  storeDegraded: () => {},
  storeReturned: () => {},
  storeWarned: () => {},
  failed: (error) => {
    throw error
  },
}
