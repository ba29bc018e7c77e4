// A process of its own that spends from a ledger as fast as it can, for tests that kill it. Owns: starting
// it and what it has said. Must not know: what a test proves. Run as a program it is that process.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import {
  type Budget,
  type Ledger,
  type LedgerCall,
  LedgerUnavailable,
} from '../../src/ledger/ledger.ts'
import { until } from '../servers/until.ts'

const dollarOf = (user: string): Budget => ({
  subject: `user:${user}`,
  amount: 1_000_000_000,
  period: { unit: 'month', timeZone: 'UTC' },
  warnAt: [50, 100],
  isShadow: false,
})

/** Its requests set aside the most that they can cost: they can never overspend it. */
export const CAREFUL = dollarOf('alice')
/** Its requests set aside what they may cost: half of it, or twice as much. It lasts for long. */
export const HASTY = dollarOf('bob')

const LARGEST_CAREFUL_COST = 4_000_000
const HASTY_GUESS = 20_000

const MOST_TRIES = 10
/** Nobody is refused because a machine is slow. */
const PATIENCE_MS = 20_000

export type LedgerPlace =
  | { readonly kind: 'sqlite'; readonly file: string }
  | { readonly kind: 'postgres'; readonly url: string }

export interface SpenderPlan {
  readonly place: LedgerPlace
  readonly name: string
  readonly seed: number
  /** Taken in turn. */
  readonly budgets: readonly Budget[]
  /** So many requests are under way at once. */
  readonly callers: number
  /** After so many it ends. */
  readonly requests: number
}

export interface Spender {
  /** What its requests cost, by their ids, of those whose settlement was confirmed to it. */
  readonly settled: ReadonlyMap<string, number>
  /** How many requests have ended in it, refused ones among them. */
  readonly ended: number
  /** Resolves when it has opened the ledger. */
  isReady(): Promise<void>
  /** Lets it spend. */
  go(): void
  /** Resolves when so many requests have ended in it. */
  hasEnded(requests: number): Promise<void>
  /** Resolves when the process is gone and all that it said has been heard. */
  kill(): Promise<void>
  /** Resolves when it has ended by itself. @throws what it has said of its trouble */
  finish(): Promise<void>
}

/** Opens a ledger as its processes do, with realistic times. */
export async function openPlace(
  place: LedgerPlace,
  holder: string,
  lifeMs?: number,
): Promise<Ledger> {
  const events = {
    unavailable() {},
    returned() {},
    recovered() {},
    warned() {},
    failed(error: Error) {
      throw error
    },
  }
  const usual = { clock: realClock(), holder, events, patienceMs: PATIENCE_MS }
  const common = { ...usual, ...(lifeMs === undefined ? {} : { lifeMs }) }
  // Each loads its own driver only: many processes are started.
  if (place.kind === 'sqlite') {
    const { openSqliteLedger } = await import('../../src/ledger/sqlite/sqlite-ledger.ts')
    return await openSqliteLedger({ ...common, file: place.file })
  }
  const { openPostgresLedger } = await import('../../src/ledger/postgres/postgres-ledger.ts')
  return await openPostgresLedger({ ...common, url: place.url })
}

/** @param compiled a folder for what Node.js has compiled: the next one starts in half the time. */
export function startSpender(plan: SpenderPlan, compiled: string): Spender {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(plan)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NODE_COMPILE_CACHE: compiled },
  })
  // It may have been killed.
  child.stdin.on('error', () => {})
  const settled = new Map<string, number>()
  let refused = 0
  let isReady = false
  let trouble = ''
  // After its end, and after the last of what it said.
  const closed = once(child, 'close')
  child.stderr.on('data', (chunk) => {
    trouble += chunk
  })
  createInterface(child.stdout).on('line', (line) => {
    const [word, id = '', cost] = line.split(' ')
    if (word === 'settled') settled.set(id, Number(cost))
    else if (word === 'refused') refused++
    else isReady = true
  })
  const ended = (): number => settled.size + refused
  const comesTrue = (what: string, isTrue: () => boolean): Promise<void> =>
    until(`${what} in ${plan.name}`, async () => {
      if (child.exitCode) throw new Error(trouble)
      return isTrue()
    })
  return {
    settled,
    get ended() {
      return ended()
    },
    isReady: () => comesTrue('the ledger is open', () => isReady),
    go: () => void child.stdin.end('go'),
    hasEnded: (requests) => comesTrue(`${requests} requests have ended`, () => ended() >= requests),
    async kill() {
      child.kill('SIGKILL')
      await closed
    },
    async finish() {
      await closed
      if (child.exitCode !== 0) throw new Error(trouble)
    },
  }
}

async function spend({ place, name, seed, ...plan }: SpenderPlan): Promise<void> {
  const ledger = await openAtLast(place, name)
  say('ready')
  await once(process.stdin, 'data')
  const random = seededRandom(seed)
  let begun = 0
  const work = async (): Promise<void> => {
    while (begun < plan.requests) {
      const budget = plan.budgets[begun % plan.budgets.length]
      if (!budget) throw new Error('it has nothing to spend')
      say(await request(ledger, `${name}-${begun++}`, budget, random))
    }
  }
  await Promise.all(Array.from({ length: plan.callers }, work))
  await ledger.close(10_000)
}

/** As whoever keeps a program running would: others that write all the time may keep it out at first. */
async function openAtLast(place: LedgerPlace, holder: string): Promise<Ledger> {
  for (let tries = 1; ; tries++) {
    try {
      return await openPlace(place, holder)
    } catch (error) {
      if (!(error instanceof LedgerUnavailable) || tries === MOST_TRIES) throw error
    }
  }
}

async function request(
  ledger: Ledger,
  id: string,
  budget: Budget,
  random: () => number,
): Promise<string> {
  const at = Date.now()
  const call = callOf(id, budget)
  const isCareful = budget.subject === CAREFUL.subject
  const amount = isCareful ? LARGEST_CAREFUL_COST : HASTY_GUESS
  const { kind } = await ledger.reserve({ call, at, amount, budgets: [budget] })
  if (kind === 'over_budget') return `refused ${id}`
  await setImmediate()
  const share = isCareful ? (1 + random()) / 2 : 0.5 + 1.5 * random()
  const cost = Math.ceil(share * amount)
  const { isNew } = await ledger.settle({
    call,
    attempt: 1,
    at,
    cost,
    outcome: 'answered',
    isExact: true,
    inputTokens: 1,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 1,
  })
  if (!isNew) throw new Error(`${id} was settled before`)
  return `settled ${id} ${cost}`
}

function callOf(id: string, { subject }: Budget): LedgerCall {
  const user = subject.slice('user:'.length)
  const [provider, model] = ['anthropic', 'claude-sonnet-5']
  return { id, user, team: null, key: null, tier: null, provider, model }
}

/** Written before it returns, so that what is said survives a kill. */
function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

if (process.argv[1] === import.meta.filename) await spend(JSON.parse(process.argv[2] ?? ''))
