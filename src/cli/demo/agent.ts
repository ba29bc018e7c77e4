// One agent of the demo: asks, thinks, asks again. Owns: what it does when it is refused, which is
// what the official SDK does. Must not know: whether there is a gate, or how it is shown.
import type { Clock, EpochMs } from '../../core/clock.ts'
import { pause } from '../pause.ts'

/** What an agent will do, drawn before it starts: the same with and without a gate. */
export interface AgentPlan {
  readonly name: string
  readonly size: 'small' | 'medium' | 'large'
  readonly steps: readonly Step[]
}

export interface Step {
  readonly prompt: string
  readonly inputTokens: number
  /** Between the answer and the next question. */
  readonly thinkMs: number
}

export type AgentState =
  | { readonly kind: 'working' }
  /** For an answer, or for the next try after a refusal. */
  | { readonly kind: 'waiting'; readonly since: EpochMs; readonly retry: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'crashed'; readonly status: number }

export interface AgentWorld {
  readonly baseUrl: string
  readonly clock: Clock
  readonly random: () => number
  readonly stop: AbortSignal
  /** Told when something happened that is worth a line. */
  readonly tell: (agent: Agent, what: string) => void
}

// Source: the official SDK's client, version 1.12.
const MOST_RETRIES = 2
const FIRST_BACKOFF_MS = 500
const LONGEST_BACKOFF_MS = 8000
const BACKOFF_JITTER = 0.25

const MODEL = 'claude-sonnet-4-5'
const MOST_OUTPUT_TOKENS = 800

export class Agent {
  readonly plan: AgentPlan
  readonly #world: AgentWorld
  #state: AgentState = { kind: 'working' }
  #stepsDone = 0
  #refusals = 0
  #longestWaitMs = 0

  constructor(plan: AgentPlan, world: AgentWorld) {
    this.plan = plan
    this.#world = world
  }

  get state(): AgentState {
    return this.#state
  }

  get stepsDone(): number {
    return this.#stepsDone
  }

  /** How often it was told 429, or another error that may pass. */
  get refusals(): number {
    return this.#refusals
  }

  /** From a question to the beginning of its answer. */
  get longestWaitMs(): number {
    return this.#longestWaitMs
  }

  /** What its steps so far have cost: lost when it crashes. */
  get inputTokensSpent(): number {
    const done = this.plan.steps.slice(0, this.#stepsDone)
    return done.reduce((sum, { inputTokens }) => sum + inputTokens, 0)
  }

  /** Works until it is done, has crashed or is stopped. */
  async run(): Promise<void> {
    const { clock, stop, tell } = this.#world
    for (const { prompt, thinkMs } of this.plan.steps) {
      const status = await this.#ask(prompt)
      if (stop.aborted) return
      if (status !== 200) {
        this.#state = { kind: 'crashed', status }
        tell(this, `crashed: ${status}${status === 429 ? ` after ${MOST_RETRIES + 1} tries` : ''}`)
        return
      }
      this.#stepsDone++
      await pause(clock, thinkMs, stop)
      if (stop.aborted) return
    }
    this.#state = { kind: 'done' }
    tell(this, 'done')
  }

  /** Returns the status of the last try. */
  async #ask(prompt: string): Promise<number> {
    const { clock, stop, tell } = this.#world
    const askedAt = clock.now()
    for (let retry = 0; ; retry++) {
      this.#state = { kind: 'waiting', since: askedAt, retry }
      const response = await this.#send(prompt)
      if (response.ok) {
        this.#answerBegins(clock.now() - askedAt)
        await response.text()
        return response.status
      }
      await response.body?.cancel()
      this.#refusals++
      if (!mayPass(response.status) || retry === MOST_RETRIES) return response.status
      const waitMs = retryAfterMs(response) ?? this.#backoffMs(retry)
      tell(this, `${response.status}, tries again in ${Math.ceil(waitMs / 1000)} s`)
      await pause(clock, waitMs, stop)
      if (stop.aborted) return response.status
    }
  }

  #answerBegins(waitedMs: number): void {
    this.#state = { kind: 'working' }
    this.#longestWaitMs = Math.max(this.#longestWaitMs, waitedMs)
    if (waitedMs >= WORTH_TELLING_MS)
      this.#world.tell(this, `got its turn after ${Math.round(waitedMs / 1000)} s`)
  }

  #send(prompt: string): Promise<Response> {
    const { baseUrl, stop } = this.#world
    return fetch(`${baseUrl}/v1/messages`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'anthropic-version': '2023-06-01',
        'x-api-key': 'demo',
        'x-headgate-flow': this.plan.name,
      },
      body: JSON.stringify({
        model: MODEL,
        max_tokens: MOST_OUTPUT_TOKENS,
        stream: true,
        messages: [{ role: 'user', content: prompt }],
      }),
      signal: stop,
    })
  }

  #backoffMs(retry: number): number {
    const longest = Math.min(FIRST_BACKOFF_MS * 2 ** retry, LONGEST_BACKOFF_MS)
    return longest * (1 - this.#world.random() * BACKOFF_JITTER)
  }
}

/** Shorter waits happen to everybody. */
const WORTH_TELLING_MS = 10_000

const mayPass = (status: number): boolean =>
  status === 408 || status === 409 || status === 429 || status >= 500

function retryAfterMs({ headers }: Response): number | null {
  const seconds = Number.parseFloat(headers.get('retry-after') ?? '')
  return seconds > 0 ? seconds * 1000 : null
}
