// What a perfect line would do with the same agents and the same quota: it knows every cost exactly
// and forgets nothing. Owns: two ideals, first come first served and equal shares. For comparison only.
import { VirtualClock } from '../../src/core/clock.ts'
import type { Agent } from './run-agents.ts'
import { serviceMs } from './simulated-anthropic.ts'

export type Discipline = 'first-come' | 'fair-shares'

interface Waiting {
  missing: number
  readonly served: () => void
}

/** Fine against waits of seconds. */
const STEP_MS = 20

/** The waits of each agent's requests, in milliseconds, on a bucket of so many tokens a minute. */
export function idealWaits(
  agents: readonly Agent[],
  tokensPerMinute: number,
  discipline: Discipline,
): number[][] {
  const line = new IdealLine(tokensPerMinute, discipline)
  const waits = agents.map((agent) => line.add(agent))
  line.run()
  return waits
}

class IdealLine {
  readonly #clock = new VirtualClock()
  readonly #tokensPerMinute: number
  readonly #discipline: Discipline
  /** Those that wait, by flow, the longest waiting first. */
  readonly #lines = new Map<string, Waiting[]>()
  #level: number
  #pending = 0

  constructor(tokensPerMinute: number, discipline: Discipline) {
    this.#tokensPerMinute = this.#level = tokensPerMinute
    this.#discipline = discipline
  }

  add(agent: Agent): number[] {
    const waits: number[] = []
    const steps = agent.steps()
    const ask = (): void => {
      const next = steps.next()
      if (next.done) return
      const { thinkMs, ask: asked } = next.value
      // Under one line for all, everybody is one flow.
      const flow = this.#discipline === 'first-come' ? 'all' : asked.agent
      this.#later(thinkMs, () => {
        const askedAt = this.#clock.now()
        this.#join(flow, {
          missing: asked.work.inputTokens,
          served: () => {
            waits.push(this.#clock.now() - askedAt)
            this.#later(serviceMs(asked.work), ask)
          },
        })
      })
    }
    for (let socket = 0; socket < (agent.sockets ?? 1); socket++) ask()
    return waits
  }

  run(): void {
    for (let now = 0; this.#pending > 0 || this.#lines.size > 0; now += STEP_MS) {
      this.#clock.advanceTo(now)
      const refill = (this.#tokensPerMinute * STEP_MS) / 60_000
      this.#level = Math.min(this.#tokensPerMinute, this.#level + refill)
      this.#spend()
    }
  }

  #later(delayMs: number, run: () => void): void {
    this.#pending++
    this.#clock.schedule(this.#clock.now() + delayMs, () => {
      this.#pending--
      run()
    })
  }

  #join(flow: string, waiting: Waiting): void {
    const line = this.#lines.get(flow)
    if (line) line.push(waiting)
    else this.#lines.set(flow, [waiting])
  }

  /** Gives what there is to the first of every flow in equal parts, until it or they are gone. */
  #spend(): void {
    while (this.#lines.size > 0 && this.#level > 1e-6) {
      const heads = [...this.#lines].flatMap(([flow, [first]]) => (first ? [{ flow, first }] : []))
      const smallest = heads.reduce((least, { first }) => Math.min(least, first.missing), Infinity)
      const each = Math.min(this.#level / heads.length, smallest)
      this.#level -= each * heads.length
      for (const { flow, first } of heads) {
        first.missing -= each
        if (first.missing > 1e-6) continue
        const line = this.#lines.get(flow)
        line?.shift()
        if (line?.length === 0) this.#lines.delete(flow)
        first.served()
      }
    }
  }
}
