// The store's operations as the bytes that it sends. Owns: that they are made cheaply, so that the server is
// what is measured. Must not know: how they are sent, what the server makes of them.
import type { GateSettings } from '../../src/core/admission.ts'
import { costOf } from '../../src/core/cost.ts'
import { keyOf } from '../../src/stores/redis/keys.ts'
import { Program } from '../../src/stores/redis/program.ts'
import type { Script } from '../../src/stores/redis/script.ts'
import { allScripts } from '../../src/stores/redis/scripts.generated.ts'
import { settingsText } from '../../src/stores/redis/settings-text.ts'
import { encode } from './resp-client.ts'

export interface Ticket {
  readonly id: string
  readonly flow: string
}

/** A command for a ticket, as it goes over the wire. */
export type Command = (ticket: Ticket) => string

const ESTIMATE = costOf({ input_tokens: 600, output_tokens: 300 })
const ACTUAL = costOf({ input_tokens: 580, output_tokens: 210 })
/** As long as those of real gateways. */
export const INSTANCE = 'gateway-7c9d5b6f4-x2x7k-1-5f0c1d2e'
const PREFIX = 'headgate'
const FLOWS = 100
/** Nobody gives signs of life here, so one has to last. */
const LIFE_MS = 3_600_000

/** Of the same length as real ones; they stand for them in a command that is to be filled in. */
const BLANK: Ticket = { id: '<ticket>', flow: '<flow-->' }

export const program = new Program(allScripts)

let taken = 0

/** One of a hundred flows asks for a turn. */
export function newTicket(): Ticket {
  taken++
  const flow = `agent-${String(taken % FLOWS).padStart(2, '0')}`
  return { id: `t${String(taken % 1e7).padStart(7, '0')}`, flow }
}

export class GateCommands {
  readonly enqueue: Command
  readonly settle: Command
  /** The operands of both, with blanks for the ticket's. */
  readonly parts: { readonly enqueue: readonly string[]; readonly settle: readonly string[] }
  readonly #resource: string
  readonly #revision = Date.now()
  readonly #settings: string

  constructor(resource: string, settings: GateSettings) {
    this.#resource = resource
    this.#settings = settingsText(settings, this.#revision)
    const settle = { ...this.#common(''), id: BLANK.id, actual: ACTUAL, exact: true }
    this.parts = {
      enqueue: this.#enqueueOf(BLANK, ''),
      settle: this.#command(allScripts.settle, settle),
    }
    this.enqueue = filledIn(this.parts.enqueue)
    this.settle = filledIn(this.parts.settle)
  }

  /** Begins the gate. */
  first(ticket: Ticket): string {
    return encode(this.#enqueueOf(ticket, this.#settings))
  }

  keys(): string[] {
    return allScripts.enqueue.keys.map((part) => keyOf(PREFIX, this.#resource, part))
  }

  #enqueueOf({ id, flow }: Ticket, settings: string): string[] {
    return this.#command(allScripts.enqueue, {
      ...this.#common(settings),
      id,
      flow,
      lane: 2,
      weight: 1,
      estimate: ESTIMATE,
      deadlineAt: Number.POSITIVE_INFINITY,
      parked: false,
      holder: INSTANCE,
      holderTtl: LIFE_MS,
      hasPlace: false,
      enqueuedAt: 0,
      laneSince: 0,
      startTag: 0,
    })
  }

  #common(settings: string) {
    return { resource: this.#resource, instance: INSTANCE, revision: this.#revision, settings }
  }

  #command<Args>(script: Script<Args>, args: Args): string[] {
    const keys = script.keys.map((part) => keyOf(PREFIX, this.#resource, part))
    const operands = script.args(args).map((operand) => operand.toString('latin1'))
    return ['FCALL', program.functionOf(script), `${keys.length}`, ...keys, ...operands]
  }
}

/** Encodes a command once; for each ticket only its own parts are put in. */
function filledIn(parts: readonly string[]): Command {
  const fill = template(parts)
  return (ticket) => fill(ticket, ticket)
}

/** As a command for two tickets, of which the second has blanks of its own. */
export function template(parts: readonly string[]): (own: Ticket, other: Ticket) => string {
  const [first = '', ...pieces] = encode(parts).split(/(<ticket>|<flow-->|<ticke2>|<flow2->)/)
  return (own, other) => {
    let command = first
    for (let at = 0; at < pieces.length; at += 2) {
      const ticket = pieces[at]?.includes('2') ? other : own
      command += (pieces[at]?.startsWith('<t') ? ticket.id : ticket.flow) + pieces[at + 1]
    }
    return command
  }
}

/** For `template`: the names of a ticket, then those of another one. */
export const BLANKS = [BLANK.id, BLANK.flow, '<ticke2>', '<flow2->'] as const
