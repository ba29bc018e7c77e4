// The gate's own account of the race. Owns: the very operations that ship, with one line more in those
// places where something is taken or given back, and reading what they wrote. Must not know: callers.
import type { Redis } from 'ioredis'
import type { EpochMs } from '../../src/core/clock.ts'
import type { Script } from '../../src/stores/redis/script.ts'
import { allScripts } from '../../src/stores/redis/scripts.generated.ts'

/**
 * `grant` takes all that a ticket costs, `again` only a slot; `cost` corrects what was taken, `refund`
 * gives it back; `end` frees the slot, and `expire` says that this is for its holder's silence. `spent`
 * is what was taken without any gate.
 */
const KINDS = ['grant', 'again', 'cost', 'refund', 'end', 'expire', 'spent'] as const

export interface Entry {
  readonly kind: (typeof KINDS)[number]
  readonly at: EpochMs
  readonly id: string
  readonly inputTokens: number
  readonly outputTokens: number
  /** Of a grant: how many were left waiting. */
  readonly waiting: number
}

/** A field of what is there: a chunk has no room for many more locals. */
const NOTE = `function lease.journal(kind, id, cost)
  local line = string.format('%s %.3f %s %d %d %d', kind, gate.now, id,
    cost and cost.input_tokens or 0, cost and cost.output_tokens or 0, gate.tickets - gate.held - 1)
  redis.call('RPUSH', string.match(key.state, '^[^{]*') .. 'journal', line)
end
`

/** What each note stands behind, as the build writes it; `$1` is what is in brackets. */
const PLACES: readonly (readonly [RegExp, string])[] = [
  [/^function lease\.hold\((\w+)\)\n/m, "lease.journal('grant', $1.id, $1.estimate)"],
  [/^local function hold_counted\((\w+), \w+\)\n/m, "lease.journal('again', $1.id)"],
  [/^function lease\.recharge\((\w+), cost\)\n/m, "lease.journal('cost', $1.id, cost)"],
  [/^function lease\.refund\((\w+)\)\n/m, "lease.journal('refund', $1.id)"],
  [/^function lease\.take\((\w+)\)\n/m, "lease.journal('end', $1.id)"],
  [/^local function expire_ticket\((\w+)\)\n/m, "lease.journal('expire', $1.id)"],
  [/^ *limits\.charge\(gate, (spent)\)\n/m, "lease.journal('spent', 'all', $1)"],
]

type Scripts = typeof allScripts

export function withJournal(): Scripts {
  const unseen = new Set(PLACES.map(([place]) => place))
  const noted = (text: string): string => {
    let changed = text.replace('local lease = {}\n', (line) => `${line}${NOTE}`)
    for (const [place, note] of PLACES) {
      if (place.test(changed)) unseen.delete(place)
      changed = changed.replace(place, `$&  ${note}\n`)
    }
    return changed
  }
  const entries = Object.entries(allScripts).map(([name, script]: [string, Script<never>]) => [
    name,
    { ...script, libs: noted(script.libs), body: noted(script.body) },
  ])
  if (unseen.size > 0) throw new Error(`the scripts have no ${[...unseen].join()}`)
  return Object.assign({}, allScripts, Object.fromEntries(entries))
}

export async function readJournal(client: Redis, prefix: string): Promise<readonly Entry[]> {
  const lines = await client.lrange(`${prefix}:journal`, 0, -1)
  return lines.map((line) => {
    const [word, at, id = '', inputTokens, outputTokens, waiting] = line.split(' ')
    const kind = KINDS.find((known) => known === word)
    if (!kind) throw new Error(`not a line of the journal: ${line}`)
    return {
      kind,
      at: Number(at),
      id,
      inputTokens: Number(inputTokens),
      outputTokens: Number(outputTokens),
      waiting: Number(waiting),
    }
  })
}
