// The real Claude Code, in print mode, against the emulator through a gateway. Started by
// claude-code.sh with the program's path. Prints one line per scenario; exits 1 when one fails.
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'
import { stdout } from 'node:process'
import { promisify } from 'node:util'
import { type Harness, type HarnessOptions, KEY, openHarness } from '../harness.ts'

const run = promisify(execFile)

const [claude] = process.argv.slice(2)
if (claude === undefined) throw new Error('usage: claude-code.ts PATH-OF-CLAUDE')

const TIMEOUT_MS = 120_000

/** One `claude -p`, as a stranger on this machine: with a home of its own and nobody to ask. */
async function print(gate: Harness, prompt: string): Promise<string> {
  const home = await mkdtemp(path.join(import.meta.dirname, '../../.cache/home-'))
  try {
    const running = run(claude ?? '', ['-p', prompt, '--model', 'claude-sonnet-5'], {
      cwd: home,
      timeout: TIMEOUT_MS,
      env: {
        PATH: process.env.PATH,
        HOME: home,
        ANTHROPIC_BASE_URL: gate.url,
        ANTHROPIC_API_KEY: KEY,
        DISABLE_AUTOUPDATER: '1',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      },
    })
    running.child.stdin?.end()
    return (await running).stdout
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}

interface Scenario {
  readonly name: string
  readonly options: HarnessOptions
  readonly agents: number
  readonly prompt: string
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'one agent, nothing in its way',
    options: { emulator: { timeScale: 10 } },
    agents: 1,
    prompt: 'Say hello. [[emulate output=20]]',
  },
  {
    name: 'three agents on a quota for one, in fast minutes',
    options: {
      speed: 30,
      emulator: { limits: { requests: 10, inputTokens: 20_000, outputTokens: 8000 } },
    },
    agents: 3,
    prompt: 'Say hello. [[emulate output=50]]',
  },
  {
    name: 'an overload of twenty seconds, in fast ones',
    options: { speed: 10, emulator: { faults: { overloadForMs: 20_000 } } },
    agents: 1,
    prompt: 'Say hello. [[emulate output=20]]',
  },
]

async function play({ name, options, agents, prompt }: Scenario): Promise<boolean> {
  await using gate = await openHarness(options)
  const startedAt = performance.now()
  const outcomes = await Promise.allSettled(
    Array.from({ length: agents }, () => print(gate, prompt)),
  )
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const answered = outcomes.filter(
    (outcome) => outcome.status === 'fulfilled' && outcome.value.startsWith('the gate'),
  )
  const { totals } = gate.emulator.report()
  const queued = gate.of('settled').map(({ facts }) => facts.queuedMs)
  stdout.write(
    `${answered.length === agents ? 'ok' : 'FAILED'}  ${name}: ${answered.length}/${agents} agents ` +
      `answered in ${seconds} s; ${totals.requests} requests upstream, ` +
      `${totals.requests - totals.admitted} refused there, ${gate.of('refused').length} by the gate; ` +
      `longest wait ${(Math.max(0, ...queued) / 1000).toFixed(1)} s of the gate's clock\n`,
  )
  for (const outcome of outcomes)
    if (outcome.status === 'rejected') stdout.write(`  ${String(outcome.reason).slice(0, 500)}\n`)
  return answered.length === agents
}

let isFine = true
for (const scenario of SCENARIOS) isFine = (await play(scenario)) && isFine
process.exitCode = isFine ? 0 : 1
