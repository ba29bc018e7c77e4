// Programs in three languages that ask for leases and call the provider by themselves, and SDKs that go
// through the gateway, share one line: whoever they are, the provider sees no limit exceeded, none
// refused, and hardly any of its capacity unused.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../docs/markdown.ts'
import { type Harness, KEY, openHarness } from '../harness.ts'

/** The provider's minute passes in two seconds. */
const TIME_SCALE = 30
const REQUESTS = 30
const INPUT_TOKENS = 60_000
const AT_ONCE = 4
const SECONDS = 8

const CONFIG = `
providers:
  anthropic:
    api_key: ${KEY}
    limits:
      - match: '*'
        requests: ${REQUESTS}/2s
        input_tokens: ${INPUT_TOKENS}/2s
        concurrency: ${AT_ONCE}
`

/** Each flow has a key of its own, so that the provider can tell them apart. */
const ONE_ORGANIZATION = Object.fromEntries(
  ['typescript', 'python', 'curl', 'polite', KEY].map((key) => [key, 'one']),
)

const FROM_SOURCES = path.join(ROOT, 'tests/docs/package-from-sources.mjs')

const COMMANDS = {
  typescript: [process.execPath, '--import', FROM_SOURCES, 'examples/leases/worker.mjs'],
  python: ['python3', 'examples/leases/worker.py'],
  curl: ['sh', 'examples/leases/worker.sh'],
} as const

type Language = keyof typeof COMMANDS

const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0

interface Worker {
  readonly flow: string
  readonly lane?: string
}

/** How many answers a worker of its own process had. */
async function work(gate: Harness, language: Language, worker: Worker): Promise<number> {
  const { flow, lane = 'normal' } = worker
  const [command, ...args] = COMMANDS[language]
  const env = {
    PATH: process.env.PATH,
    HEADGATE_URL: gate.url,
    PROVIDER_URL: gate.emulator.url,
    ANTHROPIC_API_KEY: flow,
    SECONDS_TO_WORK: String(SECONDS),
    FLOW: flow,
    LANE: lane,
    PYTHONDONTWRITEBYTECODE: '1',
  }
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const [code] = await once(child, 'close')
  expect(code).toBe(0)
  return Number(output)
}

/** The same through the gateway. */
async function workBehind(gate: Harness, flow: string): Promise<number> {
  const client = gate.client({ apiKey: 'any', defaultHeaders: { 'x-headgate-flow': flow } })
  const stopAt = performance.now() + SECONDS * 1000
  let answered = 0
  while (performance.now() < stopAt) {
    await client.messages.create({
      model: 'claude-sonnet-5',
      max_tokens: 20,
      messages: [{ role: 'user', content: 'word '.repeat(2000) }],
    })
    answered += 1
  }
  return answered
}

const sum = (numbers: readonly number[]): number => numbers.reduce((one, other) => one + other, 0)

/** So many of a kind at once: what each of them alone could not keep busy, they do together. */
const severally = (count: number, run: () => Promise<number>): Promise<number> =>
  Promise.all(Array.from({ length: count }, run)).then(sum)

describe.skipIf(!has('curl') || !has('python3'))('one line for all', () => {
  it('uses all of the provider’s limits and none twice, whoever asks in whatever way', async () => {
    await using gate = await openHarness({
      config: CONFIG,
      emulator: {
        limits: { requests: REQUESTS, inputTokens: INPUT_TOKENS, outputTokens: 1_000_000 },
        organizations: ONE_ORGANIZATION,
        timeScale: TIME_SCALE,
        ttftMs: 0,
        tokensPerSecond: 5000,
      },
    })
    const [typescript, python, curl, sdk, low] = await Promise.all([
      severally(3, () => work(gate, 'typescript', { flow: 'typescript' })),
      severally(3, () => work(gate, 'python', { flow: 'python' })),
      severally(3, () => work(gate, 'curl', { flow: 'curl' })),
      severally(3, () => workBehind(gate, 'sdk')),
      severally(2, () => work(gate, 'typescript', { flow: 'polite', lane: 'low' })),
    ])
    const { totals, maxInFlight, isLimitExceeded, minutes } = gate.emulator.report()
    expect(totals.admitted).toBe(typescript + python + curl + sdk + low)
    // No window exceeded, in any of the three ways.
    expect(totals.requests).toBe(totals.admitted)
    expect(isLimitExceeded).toBe(false)
    expect(maxInFlight).toBeLessThanOrEqual(AT_ONCE)
    // While all of them work, which is when all have started and none has stopped.
    const busy = minutes.filter(({ keys }) => Object.keys(keys).length >= 4).slice(1, -1)
    expect(busy.length).toBeGreaterThanOrEqual(2)
    const used = sum(busy.map(({ inputTokens }) => inputTokens)) / (busy.length * INPUT_TOKENS)
    expect(used).toBeGreaterThanOrEqual(0.97)
    // Four flows of one lane share alike, whatever they are; a lower lane has what they leave.
    const counts = new Map<string, number>()
    for (const { keys } of busy)
      for (const [key, { admitted }] of Object.entries(keys))
        counts.set(key, (counts.get(key) ?? 0) + admitted)
    const shares = [...counts.values()].sort((a, b) => b - a)
    const [most = 0, least = 0, lower = 0] = [shares[0], shares[3], shares[4]]
    expect(least / most).toBeGreaterThan(0.8)
    expect(lower).toBeLessThan(least / 4)
  })
})
