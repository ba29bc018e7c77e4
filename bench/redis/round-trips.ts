// What a store sends for a turn, as the server sees it. Must not know: bars.
import { costOf } from '../../src/core/cost.ts'
import { THREE_LIMITS, ticket } from '../gate/contenders.ts'
import { openStore } from './open-store.ts'
import { RespClient } from './resp-client.ts'

export interface RoundTrips {
  readonly turns: number
  /** Commands that the server was sent for these turns, those inside scripts aside. */
  readonly commands: Readonly<Record<string, number>>
  readonly perOperation: number
}

const TURNS = 500
const ACTUAL = costOf({ input_tokens: 580, output_tokens: 210 })

export async function measureRoundTrips(url: string): Promise<RoundTrips> {
  const { store } = await openStore(url, () => THREE_LIMITS)
  const turn = async (id: string): Promise<void> => {
    await store.enqueue(ticket(id, 'round-trips', 'agent'))
    await store.settle('round-trips', id, ACTUAL, true)
  }
  await turn('first')
  const commands: Record<string, number> = {}
  const watcher = await RespClient.connect(url)
  watcher.watch((line) => {
    const [, isInside, name = ''] = /^\S+ \[\d+ (lua)?\S*\] "(\w+)"/.exec(line) ?? []
    if (!isInside) commands[name] = (commands[name] ?? 0) + 1
  })
  await watcher.call('MONITOR')
  for (let count = 0; count < TURNS; count++) await turn(`turn-${count}`)
  watcher.close()
  await store.close()
  const operations = commands.FCALL ?? commands.fcall ?? commands.EVALSHA ?? commands.evalsha ?? 0
  return { turns: TURNS, commands, perOperation: operations / (2 * TURNS) }
}
