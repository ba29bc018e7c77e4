// What turns cost the server: Headgate's, and those of functions that do equal work and decide nothing.
// Must not know: what the turns are, bars.
import { median } from '../report.ts'
import { program } from './gate-commands.ts'
import { RespClient } from './resp-client.ts'
import { scriptFigures, workDuring } from './server-figures.ts'
import { type Load, longLine, nobodyWaiting } from './turn-loads.ts'

/** Each the median of the rounds. */
export interface TurnCost {
  readonly turnsPerSecond: number
  /** The part of one core that the server used: well below 1, the client was too slow for it. */
  readonly serverBusy: number
  /** Of the server's process, network included. */
  readonly cpuUs: number
  /** In the server's scripts. */
  readonly scriptUs: number
  /** Of that, in the commands that they call; the rest is Lua. */
  readonly insideUs: number
  readonly scripts: number
  readonly calls: number
}

export interface Comparison {
  readonly what: string
  readonly headgate: TurnCost
  readonly ceiling: TurnCost
  /** The turns that a core of CPU time gives, as a part of the ceiling's: the median of pairs of rounds. */
  readonly ofCeiling: number
}

export interface BusyServer {
  readonly url: string
  readonly pid: number
}

export interface Rounds {
  readonly count: number
  readonly ms: number
}

export async function measureThroughput(server: BusyServer, rounds: Rounds): Promise<Comparison[]> {
  const client = await RespClient.connect(server.url)
  await client.call('FUNCTION', 'LOAD', program.library())
  const found: Comparison[] = []
  for (const situation of [nobodyWaiting, longLine]) {
    const { what, headgate, ceiling } = await situation(server.url)
    const [ours, theirs]: [TurnCost[], TurnCost[]] = [[], []]
    for (let round = 0; round <= rounds.count; round++) {
      ours[round] = await turnCost(server, client, headgate, rounds.ms)
      theirs[round] = await turnCost(server, client, ceiling, rounds.ms)
    }
    // The first round warms up.
    const [measured, bound] = [ours.slice(1), theirs.slice(1)]
    found.push({
      what,
      headgate: medianCost(measured),
      ceiling: medianCost(bound),
      ofCeiling: median(bound.map(({ cpuUs }, at) => cpuUs / (measured[at]?.cpuUs ?? 0))),
    })
  }
  return found
}

export async function turnCost(
  server: BusyServer,
  client: RespClient,
  load: Load,
  ms: number,
): Promise<TurnCost> {
  let turns = 0
  const work = await workDuring(server, client, async () => {
    const endsAt = performance.now() + ms
    turns = await load(() => performance.now() >= endsAt)
  })
  const scripts = scriptFigures(work)
  const calls = work.commands.values().reduce((sum, command) => sum + command.calls, 0)
  return {
    turnsPerSecond: turns / work.seconds,
    serverBusy: work.cpuUs / 1e6 / work.seconds,
    cpuUs: work.cpuUs / turns,
    scriptUs: scripts.us / turns,
    insideUs: scripts.insideUs / turns,
    scripts: scripts.calls / turns,
    calls: (calls - scripts.calls) / turns,
  }
}

export function medianCost(costs: readonly TurnCost[]): TurnCost {
  const of = (figure: keyof TurnCost): number => median(costs.map((cost) => cost[figure]))
  return {
    turnsPerSecond: of('turnsPerSecond'),
    serverBusy: of('serverBusy'),
    cpuUs: of('cpuUs'),
    scriptUs: of('scriptUs'),
    insideUs: of('insideUs'),
    scripts: of('scripts'),
    calls: of('calls'),
  }
}
