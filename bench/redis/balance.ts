// node bench/redis/balance.ts [--gateways 4] [--steps 5]: the eleven agents of the scheduling benchmark, in
// real time, through gateway processes that share a Redis behind a TCP balancer, and through one alone.
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import Anthropic from '@anthropic-ai/sdk'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type EmulatorReport, startEmulator } from '../../src/emulator/emulator.ts'
import { startBalancer } from '../../tests/balancer.ts'
import { startGateway } from '../../tests/gateway-process.ts'
import { startRedis } from '../../tests/servers/redis.ts'
import { describeSetting, markdownTable, say, writeResults } from '../report.ts'
import {
  type AgentResult,
  jain,
  percentile,
  servedWhileAllAsked,
} from '../scheduling/run-agents.ts'
import { elevenAgents } from '../scheduling/workloads.ts'

const { values } = parseArgs({
  options: {
    gateways: { type: 'string', default: '4' },
    steps: { type: 'string', default: '5' },
  },
})
const steps = Number(values.steps)
const LIMITS = { requests: 50, inputTokens: 30_000, outputTokens: 8000 }
const TTFT_MS = 600
const TOKENS_PER_SECOND = 80
const MODEL = 'claude-sonnet-5'

interface Figures {
  readonly gateways: number
  readonly requests: number
  readonly answered: number
  readonly upstream429: number
  readonly makespanS: number
  readonly lowerBoundS: number
  readonly makespanRatio: number
  readonly jain: number
  readonly waitP50S: number
  readonly waitP99S: number
  /** How many each gateway carried. */
  readonly carried: readonly number[]
}

interface Turn {
  readonly thinkMs: number
  readonly inputTokens: number
  readonly outputTokens: number
}

/** The same sizes and pauses for everybody who is measured. */
const plans = elevenAgents(steps).map(({ name, steps: draw }) => ({
  name,
  turns: [...{ [Symbol.iterator]: draw }].map(
    ({ thinkMs, ask: { work } }): Turn => ({
      thinkMs,
      inputTokens: work.inputTokens,
      outputTokens: work.outputTokens,
    }),
  ),
}))

async function measure(gateways: number, store: string): Promise<Figures> {
  const clock = realClock()
  const settings = { limits: LIMITS, ttftMs: TTFT_MS, tokensPerSecond: TOKENS_PER_SECOND }
  const emulator = await startEmulator({ clock, random: seededRandom(1), settings })
  const flags = ['--store', store, '--upstream', `anthropic=${emulator.url}`]
  const all = await Promise.all(Array.from({ length: gateways }, () => startGateway(...flags)))
  const balancer = await startBalancer(all.map(({ url }) => url))
  const startAt = clock.now()
  const results = await Promise.all(
    plans.map(({ name, turns }) => live(name, turns, balancer.url, () => clock.now())),
  )
  const makespanMs = Math.max(...results.map(({ finishedAt }) => finishedAt)) - startAt
  const report = emulator.report()
  await balancer[Symbol.asyncDispose]()
  await Promise.all(all.map((gateway) => gateway.terminate()))
  await emulator.close()
  const carried = all.map(
    ({ log }) => log.filter(({ event }) => event === 'request.settled').length,
  )
  return figuresOf(results, report, makespanMs, carried)
}

async function live(
  name: string,
  turns: readonly Turn[],
  baseURL: string,
  now: () => number,
): Promise<AgentResult> {
  const client = new Anthropic({
    baseURL,
    apiKey: 'bench',
    maxRetries: 0,
    timeout: 3_600_000,
    // A connection a request, so that each may go to another gateway.
    defaultHeaders: { 'x-claude-code-session-id': name, connection: 'close' },
  })
  const result: AgentResult = {
    name,
    answered: 0,
    failed: 0,
    finishedAt: now(),
    waitsMs: [],
    served: [],
  }
  for (const turn of turns) {
    await pause(turn.thinkMs)
    const askedAt = now()
    try {
      const stream = client.messages.stream(requestOf(turn))
      await stream.emitted('connect')
      const begunAt = now()
      const { usage } = await stream.finalMessage()
      result.served.push({ at: begunAt, tokens: usage.input_tokens })
      result.answered++
    } catch (error) {
      say(`${name}: ${error}`)
      result.failed++
      break
    }
    result.finishedAt = now()
    result.waitsMs.push(Math.max(0, result.finishedAt - askedAt - serviceMs(turn)))
  }
  return result
}

function requestOf({ inputTokens, outputTokens }: Turn) {
  const prompt = `${'the '.repeat(inputTokens)}[[emulate output=${outputTokens}]]`
  return {
    model: MODEL,
    max_tokens: 4096,
    messages: [{ role: 'user' as const, content: prompt }],
  }
}

const serviceMs = ({ outputTokens }: Turn): number =>
  TTFT_MS + (outputTokens / TOKENS_PER_SECOND) * 1000

/** No order can end sooner: what a full bucket does not hold is refilled, and agents take their time. */
function lowerBoundMs(inputTokens: number): number {
  const last = plans.map(({ turns }) => serviceMs(turns.at(-1) ?? noTurn()))
  const quota =
    ((inputTokens - LIMITS.inputTokens) / LIMITS.inputTokens) * 60_000 + Math.min(...last)
  const chains = plans.map(({ turns }) =>
    turns.reduce((sum, turn) => sum + turn.thinkMs + serviceMs(turn), 0),
  )
  return Math.max(quota, ...chains)
}

function noTurn(): never {
  throw new Error('an agent without turns')
}

function figuresOf(
  results: readonly AgentResult[],
  { totals }: EmulatorReport,
  makespanMs: number,
  carried: readonly number[],
): Figures {
  const waits = results.flatMap(({ waitsMs }) => waitsMs)
  const bound = lowerBoundMs(totals.inputTokens)
  return {
    gateways: carried.length,
    requests: totals.requests,
    answered: results.reduce((sum, { answered }) => sum + answered, 0),
    upstream429:
      totals.refusedForRequests + totals.refusedForInputTokens + totals.refusedForOutputTokens,
    makespanS: round(makespanMs / 1000, 1),
    lowerBoundS: round(bound / 1000, 1),
    makespanRatio: round(makespanMs / bound, 4),
    jain: round(jain(servedWhileAllAsked(results)), 4),
    waitP50S: round(percentile(waits, 0.5) / 1000, 2),
    waitP99S: round(percentile(waits, 0.99) / 1000, 2),
    carried,
  }
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

const redis = await startRedis()
// Side by side: both wait most of the time.
const figures = await Promise.all([
  measure(Number(values.gateways), redis.url),
  measure(1, 'memory'),
])
await redis.stop()
const names = Object.keys(figures[0]).filter((name) => name !== 'gateways')
say(
  markdownTable([
    [
      '',
      ...figures.map(({ gateways }) =>
        gateways === 1 ? 'one gateway' : `${gateways} gateways, one Redis`,
      ),
    ],
    ...names.map((name) => [
      name,
      ...figures.map((figure) => String(Object.entries(figure).find(([key]) => key === name)?.[1])),
    ]),
  ]),
)
const command = `node bench/redis/balance.ts --gateways ${values.gateways} --steps ${steps}`
writeResults('balance', { ...describeSetting(command), figures })
