// headgate demo: the same agents twice on one small quota, first without Headgate, then with it.
// Owns: the order of the show, on a terminal and elsewhere. Must not know: how a run goes.
import type { Command } from 'commander'
import { seededRandom } from '../core/random.ts'
import { resolveEmulatorSettings } from '../emulator/emulator.ts'
import { wholeNumber } from '../policy/values.ts'
import type { AgentPlan } from './demo/agent.ts'
import { drawPlans } from './demo/plans.ts'
import { DemoRun, type RunFacts, type RunOptions } from './demo/run.ts'
import { comparisonLines, runLines, titleOf } from './demo/view.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { checkedFlag, decimal } from './flags.ts'
import type { Io } from './io.ts'
import { every, pause } from './pause.ts'
import { stopWish } from './stop.ts'
import { LiveScreen } from './terminal/live-screen.ts'
import { type Paint, paintFor } from './terminal/paint.ts'
import { amountInWords, countOf, stopwatch } from './terminal/words.ts'

export interface DemoFlags {
  readonly agents: number
  readonly speed: number
  readonly seed: number
}

const MOST_AGENTS = 50
const DRAW_EVERY_MS = 100
/** How long the last picture of a run stays. */
const LOOK_MS = 2000

const LIMITS = resolveEmulatorSettings().limits

export function addDemoFlags(command: Command): Command {
  const agents = wholeNumber(1, MOST_AGENTS)
  return command
    .addOption(checkedFlag('--agents N', 'How many agents there are.', agents).default(11))
    .addOption(checkedFlag('--speed N', 'So many times as fast.', decimal(1, 1000)).default(12))
    .addOption(checkedFlag('--seed N', 'Draws other agents.', wholeNumber(0)).default(1))
}

export async function runDemo(flags: DemoFlags, io: Io): Promise<ExitCode> {
  using stop = stopWish(io)
  const plans = drawPlans(flags.agents, seededRandom(flags.seed))
  const stage = { flags, plans, io, paint: paintFor(io.stdout, io.env), stop: stop.signal }
  const introduction = introductionOf(plans)
  const both = io.stdout.isTTY ? await onScreen(stage) : await inLines(stage, introduction)
  if (!both) {
    io.stdout.write('Stopped.\n')
    return EXIT.ok
  }
  const [bare, gated] = both
  const lines = [introduction, '', ...comparisonLines(bare, gated, stage.paint), '', ending(stage)]
  io.stdout.write(`${lines.join('\n')}\n`)
  return EXIT.ok
}

interface Stage {
  readonly flags: DemoFlags
  readonly plans: readonly AgentPlan[]
  readonly io: Io
  readonly paint: Paint
  readonly stop: AbortSignal
}

/** Both runs, without and with the gate; null when the user stopped the show. */
type Both = readonly [bare: RunFacts, gated: RunFacts] | null

type Play = (run: DemoRun) => Promise<void>

async function playBoth(stage: Stage, tell: RunOptions['tell'], play: Play): Promise<Both> {
  const { plans, flags, stop } = stage
  const playOne = async (withGate: boolean): Promise<RunFacts> => {
    const run = await DemoRun.open({ plans, withGate, ...flags, stop, tell })
    await play(run)
    return run.facts()
  }
  const bare = await playOne(false)
  if (stop.aborted) return null
  const gated = await playOne(true)
  return stop.aborted ? null : [bare, gated]
}

/** Draws each run in place while it goes on. */
async function onScreen(stage: Stage): Promise<Both> {
  const { io, paint, stop, flags } = stage
  using screen = new LiveScreen(io.stdout)
  let earlier: RunFacts | null = null
  return await playBoth(stage, ignore, async (run) => {
    const draw = (): void => {
      const { columns } = screen
      const limit = LIMITS.inputTokens
      screen.draw(runLines(run.facts(), { columns, paint, speed: flags.speed, limit, earlier }))
    }
    const stopDrawing = every(io.clock, DRAW_EVERY_MS, draw)
    await run.finish().finally(stopDrawing)
    draw()
    earlier = run.facts()
    await pause(io.clock, LOOK_MS, stop)
  })
}

const ignore = (): void => {}

/** Prints a line for all that happens. */
async function inLines(stage: Stage, introduction: string): Promise<Both> {
  const { stdout } = stage.io
  const tell: RunOptions['tell'] = (run, agent, what) => {
    const time = stopwatch(run.facts().elapsedMs).padStart(6)
    stdout.write(`${time}  ${agent.plan.name.padEnd(9)} ${what}\n`)
  }
  stdout.write(`${introduction}\n\n`)
  return await playBoth(stage, tell, async (run) => {
    stdout.write(`${titleOf(run.facts())}\n`)
    await run.finish()
    stdout.write('\n')
  })
}

function introductionOf(plans: readonly AgentPlan[]): string {
  const steps = plans.reduce((sum, plan) => sum + plan.steps.length, 0)
  const limits = `${countOf(LIMITS.requests, 'request')} and ${amountInWords(LIMITS.inputTokens)} input tokens a minute`
  return `${countOf(plans.length, 'agent')}, ${countOf(steps, 'step')}, one quota: ${limits}.`
}

function ending({ paint }: Stage): string {
  return `Same agents, same limits: only their base URL changed. Start the gate for yours:

  ${paint('cyan', 'headgate')}
  ${paint('cyan', 'export ANTHROPIC_BASE_URL=http://127.0.0.1:4000')}
`
}
