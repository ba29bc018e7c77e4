// Callers who take turns at a gate, and others who have the server do equal work without a gate. Owns:
// both situations, nobody waiting and a long line. Must not know: how their cost is measured.
import type { GateSettings } from '../../src/core/admission.ts'
import { parseAnswer } from '../../src/stores/redis/answer.ts'
import { bucket, settingsWith, THREE_LIMITS } from '../gate/contenders.ts'
import { equalFunction, mostUsual, type Names, type SeenOperation, watch } from './equal-work.ts'
import { BLANKS, GateCommands, newTicket, type Ticket, template } from './gate-commands.ts'
import { type Reply, RespClient } from './resp-client.ts'

/** Takes turns until it is over; returns how many there were. */
export type Load = (isOver: () => boolean) => Promise<number>

export interface Situation {
  readonly what: string
  readonly headgate: Load
  readonly ceiling: Load
}

type Turn = (connection: RespClient, hear: (reply: Reply) => void) => void

const CONNECTIONS = 4
const CALLERS_PER_CONNECTION = 16
const CALLERS = CONNECTIONS * CALLERS_PER_CONNECTION
const LINE = 1000
const WATCHED_TURNS = 15
const AMPLE = 1e12
/** The ceiling begins with copies of Headgate's keys, in another database. */
const CEILING_DB = '1'

const LIMITS_WITH_LINE = settingsWith([
  { algorithm: 'concurrency', dimension: 'concurrency', amount: CALLERS, source: 'configured' },
  bucket('input_tokens', AMPLE),
  bucket('output_tokens', AMPLE),
])

/** A turn is two commands that are sent together: a ticket passes at once, and is settled. */
export async function nobodyWaiting(url: string): Promise<Situation> {
  const { gate, client } = await openGate(url, 'model', THREE_LIMITS)
  await copy(client, gate)
  const passed: (Names & { readonly seen: SeenOperation })[] = []
  const settled: typeof passed = []
  await watch(url, client, async (see) => {
    while (passed.length < WATCHED_TURNS) {
      const names = { own: newTicket(), admitted: null }
      passed.push({ ...names, seen: await see(gate.enqueue(names.own)) })
      settled.push({ ...names, seen: await see(gate.settle(names.own)) })
    }
  })
  const pass = await ceilingCommand(client, 'ceiling_pass', mostUsual(passed), gate.parts.enqueue)
  const settle = await ceilingCommand(
    client,
    'ceiling_settle',
    mostUsual(settled),
    gate.parts.settle,
  )
  return {
    what: 'three limits, nobody waiting',
    headgate: await callers(url, '0', (connection, hear) => {
      const ticket = newTicket()
      connection.send(gate.enqueue(ticket), rejectError)
      connection.send(gate.settle(ticket), hear)
    }),
    ceiling: await callers(url, CEILING_DB, (connection, hear) => {
      const ticket = newTicket()
      connection.send(pass(ticket, ticket), rejectError)
      connection.send(settle(ticket, ticket), hear)
    }),
  }
}

/** A turn is two commands that are sent together: a ticket joins the line, and one before it that has
 * been admitted is settled, which admits another. */
export async function longLine(url: string): Promise<Situation> {
  const { gate, client, first } = await openGate(url, 'line', LIMITS_WITH_LINE)
  const line = new Line(first)
  const arrivals = [
    ...Array.from({ length: CALLERS - 1 }, () => line.hold()),
    ...Array.from({ length: LINE }, () => line.join()),
  ]
  await Promise.all(arrivals.map((ticket) => client.request(gate.enqueue(ticket))))
  // The order among flows evens out: a flow whose turn was settled for less comes first once.
  for (let count = 0; count < LINE; count++) {
    await client.request(gate.enqueue(line.join()))
    line.admitted(await client.request(gate.settle(line.leave())))
  }
  await copy(client, gate)
  const joined: (Names & { readonly seen: SeenOperation })[] = []
  const settled: typeof joined = []
  await watch(url, client, async (see) => {
    while (joined.length < WATCHED_TURNS) {
      const last = line.join()
      joined.push({ own: last, admitted: null, seen: await see(gate.enqueue(last)) })
      const own = line.leave()
      const seen = await see(gate.settle(own))
      settled.push({ own, admitted: line.admitted(seen.reply), seen })
    }
  })
  // A name of its own for each flow, so that they are told apart in what was seen.
  const distinct = settled.filter(({ own, admitted }) => own.flow !== admitted?.flow)
  const join = await ceilingCommand(client, 'ceiling_join', mostUsual(joined), gate.parts.enqueue)
  const admit = await ceilingCommand(
    client,
    'ceiling_admit',
    mostUsual(distinct),
    gate.parts.settle,
  )
  // Beside the thousand of the copy, who stay.
  const waiting = Array.from({ length: CALLERS }, newTicket)
  const held = Array.from({ length: CALLERS }, newTicket)
  return {
    what: `three limits, ${LINE.toLocaleString('en')} waiting`,
    headgate: await callers(url, '0', (connection, hear) => {
      connection.send(gate.enqueue(line.join()), rejectError)
      connection.send(gate.settle(line.leave()), (reply) => {
        line.admitted(reply)
        hear(reply)
      })
    }),
    ceiling: await callers(url, CEILING_DB, (connection, hear) => {
      const last = newTicket()
      waiting.push(last)
      const [own = last, next = last] = [held.shift(), waiting.shift()]
      held.push(next)
      connection.send(join(last, last), rejectError)
      connection.send(admit(own, next), hear)
    }),
  }
}

/** Those who wait and those who are admitted, as their process sees them. */
class Line {
  readonly #waiting = new Map<string, Ticket>()
  readonly #held: Ticket[]

  constructor(first: Ticket) {
    this.#held = [first]
  }

  hold(): Ticket {
    const ticket = newTicket()
    this.#held.push(ticket)
    return ticket
  }

  join(): Ticket {
    const ticket = newTicket()
    this.#waiting.set(ticket.id, ticket)
    return ticket
  }

  leave(): Ticket {
    const ticket = this.#held.shift()
    if (!ticket) throw new Error('there are more callers than slots')
    return ticket
  }

  admitted(reply: Reply): Ticket {
    const answer = parseAnswer(reply)
    const [id = ''] = answer.kind === 'ok' ? answer.granted : []
    const ticket = this.#waiting.get(id)
    if (!ticket) throw new Error(`nobody was admitted: ${JSON.stringify(reply)}`)
    this.#waiting.delete(id)
    this.#held.push(ticket)
    return ticket
  }
}

/** A gate where somebody always is, as at one in use. */
async function openGate(url: string, resource: string, settings: GateSettings) {
  const client = await RespClient.connect(url)
  const gate = new GateCommands(resource, settings)
  const first = newTicket()
  await client.request(gate.first(first))
  return { gate, client, first }
}

async function copy(client: RespClient, gate: GateCommands): Promise<void> {
  for (const key of gate.keys()) await client.call('COPY', key, key, 'DB', CEILING_DB)
}

/** Loads the function of equal work. Its operands are the operation's own, then the names. */
async function ceilingCommand(
  client: RespClient,
  name: string,
  { seen, ...names }: Names & { readonly seen: SeenOperation },
  parts: readonly string[],
) {
  const library = `#!lua name=${name}\n${equalFunction(name, seen, names)}`
  await client.call('FUNCTION', 'LOAD', library)
  return template(['FCALL', name, ...parts.slice(2), ...BLANKS])
}

/**
 * The callers of a connection are in step: what they send goes out together, when all have heard. So
 * the server has the same number of commands at a time from a client that is fast or slow.
 */
async function callers(url: string, db: string, turn: Turn): Promise<Load> {
  const connecting = Array.from({ length: CONNECTIONS }, () => RespClient.connect(url))
  const connections = await Promise.all(connecting)
  for (const connection of connections) await connection.call('SELECT', db)
  return async (isOver) => {
    const turns = connections.map((connection) => turnsInStep(connection, turn, isOver))
    return (await Promise.all(turns)).reduce((sum, count) => sum + count, 0)
  }
}

function turnsInStep(connection: RespClient, turn: Turn, isOver: () => boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    let turns = 0
    const hear = (reply: Reply): void => {
      if (reply instanceof Error) reject(reply)
      turns++
      if (turns % CALLERS_PER_CONNECTION > 0) return
      if (isOver()) resolve(turns)
      else step()
    }
    const step = (): void => {
      for (let caller = 0; caller < CALLERS_PER_CONNECTION; caller++) turn(connection, hear)
    }
    step()
  })
}

function rejectError(reply: Reply): void {
  if (reply instanceof Error) throw reply
}
