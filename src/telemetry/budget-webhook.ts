// Tells a web address that a budget has passed a step. Owns: what is sent, its signature, and trying
// again. Must not know: who passed a budget, or where it is kept that somebody was told.
//
// What is sent and how it is signed follows the Standard Webhooks specification, so receivers have
// libraries that check it: https://www.standardwebhooks.com
import { createHash, createHmac } from 'node:crypto'
import { Agent, request } from 'undici'
import type { Clock, EpochMs } from '../core/clock.ts'
import { formatUsd } from '../core/money.ts'
import type { BudgetWarning } from '../ledger/ledger.ts'

export interface BudgetWebhookOptions {
  readonly url: string
  /** `whsec_` and base64, or any other text, which is taken as it is. */
  readonly secret: string
  readonly clock: Clock
  readonly random: () => number
  /** A warning was received: it need not be told again. */
  readonly told: (warning: BudgetWarning) => Promise<void>
  /** The address takes no warnings, for the first time since it took one; or one was given up. */
  readonly failed: (error: unknown) => void
}

/** More are not kept: the ledger knows that they are untold, and gives them out at the next start. */
const MOST_WAITING = 1000
/** With the pauses between them a warning is tried for about two hours. */
const MOST_ATTEMPTS = 20
const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 10 * 60_000
const TIMEOUT_MS = 10_000

interface Message {
  readonly id: string
  readonly warning: BudgetWarning
  /** The same at each attempt, so that whoever receives it twice sees that. */
  readonly body: string
  attempts: number
}

/** Delivers one after another, each at least once; the one that fails goes to the back of the line. */
export class BudgetWebhook {
  readonly #options: BudgetWebhookOptions
  readonly #key: Buffer
  readonly #agent = new Agent({
    connect: { timeout: TIMEOUT_MS },
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  })
  readonly #waiting = new Map<string, Message>()
  #failuresInARow = 0
  #isDelivering = false
  #isClosed = false
  #endPause = (): void => {}

  constructor(options: BudgetWebhookOptions) {
    this.#options = options
    this.#key = signingKey(options.secret)
  }

  /** Warnings that have not been received yet. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Returns at once. A warning that is waiting already is not sent twice. */
  tell(warning: BudgetWarning): void {
    const id = idOf(warning)
    if (this.#isClosed || this.#waiting.has(id) || this.#waiting.size >= MOST_WAITING) return
    const body = JSON.stringify(payload(warning, this.#options.clock.now()))
    this.#waiting.set(id, { id, warning, body, attempts: 0 })
    if (!this.#isDelivering) void this.#deliverAll()
  }

  /** Stops at once. What was not received stays untold in the ledger. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#waiting.clear()
    this.#endPause()
    await this.#agent.destroy()
  }

  async #deliverAll(): Promise<void> {
    this.#isDelivering = true
    for (;;) {
      const [message] = this.#waiting.values()
      if (!message) break
      await this.#deliver(message)
      if (this.#failuresInARow > 0 && !this.#isClosed) await this.#pause()
    }
    this.#isDelivering = false
  }

  async #deliver(message: Message): Promise<void> {
    const why = await this.#send(message)
    if (this.#isClosed) return
    this.#waiting.delete(message.id)
    if (why === null) {
      this.#failuresInARow = 0
      await this.#options.told(message.warning).catch(this.#options.failed)
      return
    }
    this.#failuresInARow += 1
    message.attempts += 1
    const isGivenUp = message.attempts >= MOST_ATTEMPTS
    if (!isGivenUp) this.#waiting.set(message.id, message)
    if (isGivenUp || this.#failuresInARow === 1) this.#options.failed(failure(why, isGivenUp))
  }

  /** Null when it was received; otherwise why not. */
  async #send({ id, body }: Message): Promise<string | null> {
    const sentAt = String(Math.floor(this.#options.clock.now() / 1000))
    try {
      const answer = await request(this.#options.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'headgate',
          'webhook-id': id,
          'webhook-timestamp': sentAt,
          'webhook-signature': signature(this.#key, `${id}.${sentAt}.${body}`),
        },
        body,
        dispatcher: this.#agent,
      })
      await answer.body.dump()
      return answer.statusCode >= 200 && answer.statusCode < 300
        ? null
        : `it answered ${answer.statusCode}`
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  /** Longer with each failure, and not the same for all gateways. */
  #pause(): Promise<void> {
    const { clock, random } = this.#options
    const longest = Math.min(FIRST_PAUSE_MS * 2 ** (this.#failuresInARow - 1), LONGEST_PAUSE_MS)
    return new Promise((resolve) => {
      const timer = clock.schedule(clock.now() + longest * (0.5 + random() / 2), resolve)
      this.#endPause = () => {
        timer.cancel()
        resolve()
      }
    })
  }
}

function failure(why: string, isGivenUp: boolean): Error {
  const next = isGivenUp ? `gave one up after ${MOST_ATTEMPTS} attempts` : 'trying again'
  return new Error(`budget_warnings.webhook: warnings are not taken (${why}): ${next}`)
}

/**
 * The same for the same warning, from whatever process, so receivers can tell repeats. After a reset, and
 * of another amount, the same step is another warning.
 */
function idOf(warning: BudgetWarning): string {
  const { subject, period, startAt, step, amount, spent, credited, isShadow } = warning
  const budget = [subject, period.unit, period.timeZone, startAt, amount, isShadow]
  const name = [...budget, credited, step, spent].join('\n')
  return `msg_${createHash('sha256').update(name).digest('base64url').slice(0, 27)}`
}

function payload(warning: BudgetWarning, now: EpochMs) {
  return {
    type: 'budget.warning',
    timestamp: new Date(now).toISOString(),
    data: {
      subject: warning.subject,
      stepPercent: warning.step,
      amountUsd: formatUsd(warning.amount),
      spentUsd: formatUsd(warning.spent),
      period: warning.period.unit,
      timeZone: warning.period.timeZone,
      startAt: new Date(warning.startAt).toISOString(),
      endAt: new Date(warning.endAt).toISOString(),
      isShadow: warning.isShadow,
    },
  }
}

const BASE64_SECRET = 'whsec_'

function signingKey(secret: string): Buffer {
  return secret.startsWith(BASE64_SECRET)
    ? Buffer.from(secret.slice(BASE64_SECRET.length), 'base64')
    : Buffer.from(secret)
}

const signature = (key: Buffer, text: string): string =>
  `v1,${createHmac('sha256', key).update(text).digest('base64')}`
