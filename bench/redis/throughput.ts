// What turns cost the server: Headgate's, and those of functions that do equal work and decide nothing.
// Must not know: what the turns are, bars.
import { program } from './gate-commands.ts'
import { RespClient } from './resp-client.ts'
import { scriptFigures, workDuring } from './server-figures.ts'
import { type Load, longLine, nobodyWaiting } from './turn-loads.ts'

/** Of the round that was disturbed least: the one of least CPU time a turn. */
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
  /** The turns that a second of CPU time gives, as a part of the ceiling's. */
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
    for (let round = 0; round < rounds.count; round++) {
      ours.push(await turnCost(server, client, headgate, rounds.ms))
      theirs.push(await turnCost(server, client, ceiling, rounds.ms))
    }
    const [least, bound] = [leastCost(ours), leastCost(theirs)]
    const ofCeiling = bound.cpuUs / least.cpuUs
    found.push({ what, headgate: least, ceiling: bound, ofCeiling })
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
  const calls = [...work.commands.values()].reduce((sum, command) => sum + command.calls, 0)
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

export function leastCost(costs: readonly TurnCost[]): TurnCost {
  const [first, ...others] = costs
  if (!first) throw new Error('nothing was measured')
  return others.reduce((least, cost) => (cost.cpuUs < least.cpuUs ? cost : least), first)
}
