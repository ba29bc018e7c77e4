// What resources and tickets take of the server's memory. Must not know: bars.
import { setTimeout as sleep } from 'node:timers/promises'
import { bucket, settingsWith } from '../gate/contenders.ts'
import { GateCommands, newTicket, program, type Ticket } from './gate-commands.ts'
import { RespClient } from './resp-client.ts'
import { usedMemory } from './server-figures.ts'

export interface Bytes {
  readonly what: string
  readonly count: number
  /** Of the server's whole memory. */
  readonly bytesEach: number
}

export interface Memory {
  readonly bytes: readonly Bytes[]
  readonly subjects: number
  /** Of idle subjects, the keys that are left in the end, and how long that took. */
  readonly keysLeft: number
  readonly expiredAfterMs: number
}

const SUBJECTS = 2000
const WAITING = 2000
const AMPLE = 1e9
const LONGEST_LIFE_MS = 20_000

const ONE_LIMIT = settingsWith([bucket('requests', AMPLE)])
const STACK = settingsWith([
  bucket('requests', AMPLE),
  bucket('input_tokens', AMPLE),
  bucket('output_tokens', AMPLE),
])
const ONE_SLOT = settingsWith([
  { algorithm: 'concurrency', dimension: 'concurrency', amount: 1, source: 'configured' },
])

export async function measureMemory(url: string): Promise<Memory> {
  const client = await RespClient.connect(url)
  await client.call('FLUSHALL')
  await client.call('FUNCTION', 'LOAD', program.library())
  // Its buffers and its functions are there from now on.
  await subjectsOf(client, 'warm-up', STACK, 100)
  await client.call('FLUSHDB')
  const bytes: Bytes[] = []
  for (const [what, settings] of [
    ['one limit', ONE_LIMIT],
    ['three limits', STACK],
  ] as const) {
    const before = await usedMemory(client)
    const settle = await subjectsOf(client, what, settings, SUBJECTS)
    const active = (await usedMemory(client)) - before
    await settle()
    const idle = (await usedMemory(client)) - before
    bytes.push({
      what: `subject of ${what} with a lease`,
      count: SUBJECTS,
      bytesEach: active / SUBJECTS,
    })
    bytes.push({ what: `idle subject of ${what}`, count: SUBJECTS, bytesEach: idle / SUBJECTS })
  }
  const idleAt = performance.now()
  while (Number(await client.call('DBSIZE')) > 0 && performance.now() - idleAt < LONGEST_LIFE_MS)
    await sleep(100)
  const keysLeft = Number(await client.call('DBSIZE'))
  const expiredAfterMs = performance.now() - idleAt
  bytes.push(await waitingTickets(client))
  client.close()
  return { bytes, subjects: 2 * SUBJECTS, keysLeft, expiredAfterMs }
}

/** Many resources with a lease each; returns what settles all of them. */
async function subjectsOf(
  client: RespClient,
  name: string,
  settings: typeof STACK,
  count: number,
): Promise<() => Promise<void>> {
  const subjects: { readonly gate: GateCommands; readonly ticket: Ticket }[] = []
  for (let subject = 0; subject < count; subject++) {
    const gate = new GateCommands(`${name}/user-${String(subject).padStart(6, '0')}`, settings)
    const ticket = newTicket()
    await client.request(gate.first(ticket))
    subjects.push({ gate, ticket })
  }
  return async () => {
    for (const { gate, ticket } of subjects) await client.request(gate.settle(ticket))
  }
}

async function waitingTickets(client: RespClient): Promise<Bytes> {
  const gate = new GateCommands('line', ONE_SLOT)
  await client.request(gate.first(newTicket()))
  for (let count = 0; count < 100; count++) await client.request(gate.enqueue(newTicket()))
  const before = await usedMemory(client)
  for (let count = 0; count < WAITING; count++) await client.request(gate.enqueue(newTicket()))
  const bytes = (await usedMemory(client)) - before
  return { what: 'ticket that waits', count: WAITING, bytesEach: bytes / WAITING }
}
