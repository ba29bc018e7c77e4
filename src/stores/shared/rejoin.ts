// Bringing one side's tickets to the shared gate. Owns: what is said, in which order, so that nothing
// is counted twice or lost however often it is begun. Must not know: when this is done, or who waits.
import type { Clock } from '../../core/clock.ts'
import { isNothing, NOTHING } from '../../core/cost.ts'
import type { SharedGates } from '../shared-gates.ts'
import type { Book } from './book.ts'
import { plus } from './cost-sum.ts'
import { type Entry, ownTicket, type Side } from './side.ts'

/** A gate that has lost all lets nobody in for so long: in this time all processes find their ways back. */
const GATHERING_MS = 1500

/** So many tickets in one operation, which nobody else's can come between. */
const TICKETS_AT_ONCE = 200

/** Stands for a life that has no name: no gate takes it for its own. */
export const NAMELESS_LIFE = ''

/** @returns those whom the shared gate has let in, although they are still thought to wait. */
export async function rejoin(
  shared: SharedGates,
  side: Side,
  book: Book,
  clock: Clock,
): Promise<readonly Entry[]> {
  await tellDropped(shared, side)
  for (const id of await shared.owned(side.name))
    if (!book.find(id) && !side.untold.has(id)) await shared.leave(side.name, id, 'own')
  await forgetLost(shared, side, book, clock)
  // Its slots are others' too, who have not said so yet.
  if (book.instances > 1 && side.tickets.size > 0 && hasBegunAnew(shared, side))
    await shared.pause(side.name, clock.now() + GATHERING_MS)
  const entries = [...side.tickets.values()]
  const granted: Entry[] = []
  for (const part of inParts(entries)) granted.push(...(await bring(shared, side, part, clock)))
  // Ended leases go last: while they stand, nobody takes the slots of those just brought.
  await tellSettled(shared, side)
  await bring(shared, side, [], clock)
  const beat = await shared.beat(side.name)
  book.instances = beat.instances
  side.heard(beat, shared.lifeOf(side.name), side.taken)
  return granted
}

/**
 * Strikes out what others have ended, or asked for, and the news was lost: what a gate knew, and believes
 * the holder of, it loses in no other way.
 */
async function forgetLost(
  shared: SharedGates,
  side: Side,
  book: Book,
  clock: Clock,
): Promise<void> {
  const life = shared.lifeOf(side.name)
  const now = clock.now()
  const known = [...side.tickets.values()].filter(
    ({ request: { holder }, knownIn }) =>
      holder && knownIn !== null && knownIn === life && side.mortals.isBelievedThere(holder, now),
  )
  for (const asked of inParts(known)) {
    const ids = asked.map(({ request }) => request.id)
    const mine = new Set(await shared.mine(side.name, ids))
    for (const entry of asked) if (!mine.has(entry.request.id)) book.strike(entry)
  }
}

const hasBegunAnew = (shared: SharedGates, { name, life }: Side): boolean =>
  life !== null && life !== shared.lifeOf(name)

/** One that is another process's by now is left alone: what was dropped here is nothing to that one. */
async function tellDropped(shared: SharedGates, side: Side): Promise<void> {
  const dropped = [...side.untold].flatMap(([id, { kind }]) => (kind === 'dropped' ? id : []))
  for (const ids of inParts(dropped)) {
    for (const id of await shared.mine(side.name, ids)) await shared.leave(side.name, id, 'own')
    for (const id of ids) side.untold.delete(id)
  }
}

async function tellSettled(shared: SharedGates, side: Side): Promise<void> {
  for (const [id, ending] of side.untold) {
    if (ending.kind !== 'settled') continue
    const { actual, exact, countedIn } = ending
    const wasLease = await shared.settle(side.name, id, actual, exact)
    // A gate that has begun anew has not counted any of it.
    if (!wasLease && shared.lifeOf(side.name) !== countedIn) side.spent = plus(side.spent, actual)
    side.untold.delete(id)
  }
}

async function bring(
  shared: SharedGates,
  side: Side,
  entries: readonly Entry[],
  clock: Clock,
): Promise<readonly Entry[]> {
  if (entries.length === 0 && isNothing(side.spent)) return []
  const now = clock.now()
  const tickets = entries.map((entry) => ownTicket(entry, now))
  for (const entry of entries) entry.isThere = true
  const held = new Set(await shared.rejoin(side.name, tickets, side.spent))
  side.spent = NOTHING
  const life = shared.lifeOf(side.name) ?? NAMELESS_LIFE
  for (const entry of entries) {
    entry.knownIn = life
    if (entry.request.holder) side.mortals.told(entry.request.holder)
    if (entry.grantedAt !== null) entry.countedIn = life
  }
  return entries.filter(({ request, grantedAt }) => grantedAt === null && held.has(request.id))
}

function* inParts<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < all.length; from += TICKETS_AT_ONCE)
    yield all.slice(from, from + TICKETS_AT_ONCE)
}
