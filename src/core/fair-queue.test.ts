import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { costOf } from './cost.ts'
import { FairQueue } from './fair-queue.ts'
import { LANES, type Lane } from './lane.ts'
import { Ticket } from './line.ts'
import type { Place } from './ticket.ts'

const AGING_MS = 100

let tickets = 0

interface Wish {
  readonly id?: string
  readonly flow?: string
  readonly lane?: Lane
  readonly weight?: number
  readonly share?: number
  readonly place?: Place | null
}

function ticketOf(wish: Wish, now = 0): Ticket {
  const { flow = 'a', lane = 'normal', weight = 1, share = 1, place = null } = wish
  const order = tickets++
  const ticket = new Ticket(
    {
      id: wish.id ?? `t${order}`,
      resource: 'r',
      flow,
      lane,
      weight,
      estimate: costOf({ input_tokens: 10 }),
      deadlineAt: Number.POSITIVE_INFINITY,
      place,
      parked: false,
      holder: null,
    },
    share,
    now,
  )
  ticket.order = order
  return ticket
}

/** Serves all that wait, in order. */
function drain(queue: FairQueue, now = 0): string[] {
  const ids: string[] = []
  for (let head = queue.head(now); head; head = queue.head(now)) {
    queue.serve(head)
    queue.finish(head)
    ids.push(head.id)
  }
  return ids
}

interface NaiveFlow {
  tag: number
  line: Ticket[]
}

/** The same rules with no heaps, no links and no forgetting: everything is looked for. */
class NaiveQueue {
  readonly lanes = LANES.map(() => ({
    virtualTime: 0,
    lastTurn: 0,
    flows: new Map<string, NaiveFlow>(),
  }))
  turns = 0
  readonly joinedAtTurn = new Map<Ticket, number>()
  readonly early = new Map<Ticket, number>()
  readonly starts = new Map<Ticket, number>()
  readonly laneIndex = new Map<Ticket, number>()
  readonly laneSince = new Map<Ticket, number>()

  join(ticket: Ticket, laneIndex: number, laneSince: number, early: number): void {
    this.laneIndex.set(ticket, laneIndex)
    this.laneSince.set(ticket, laneSince)
    this.early.set(ticket, early)
    this.joinedAtTurn.set(ticket, this.turns)
    const lane = this.laneOf(ticket)
    const flow = this.flowOf(ticket)
    if (flow.line.length === 0) flow.tag = Math.max(flow.tag, lane.virtualTime)
    const before = flow.line.reduce((sum, other) => sum + other.share / other.weight, 0)
    this.starts.set(ticket, Math.min(early, flow.tag + before))
    flow.line.push(ticket)
    flow.line.sort((a, b) => this.byAge(a, b))
  }

  remove(ticket: Ticket): Place {
    const flow = this.flowOf(ticket)
    const startTag =
      flow.line[0] === ticket ? this.turnTag(flow) : (this.starts.get(ticket) ?? Number.NaN)
    flow.line.splice(flow.line.indexOf(ticket), 1)
    this.settleLane(ticket)
    return {
      enqueuedAt: ticket.enqueuedAt,
      lane: LANES[this.laneIndex.get(ticket) ?? 0] ?? 'low',
      laneSince: this.laneSince.get(ticket) ?? Number.NaN,
      startTag,
    }
  }

  head(now: number): Ticket | null {
    this.age(now)
    for (const { flows } of this.lanes) {
      const [first] = [...flows.values()]
        .filter((flow) => flow.line.length > 0)
        .sort((a, b) => this.turnTag(a) - this.turnTag(b) || this.byAge(a.line[0], b.line[0]))
      if (first) return first.line[0] ?? null
    }
    return null
  }

  serve(ticket: Ticket): void {
    const flow = this.flowOf(ticket)
    const lane = this.laneOf(ticket)
    lane.lastTurn = ++this.turns
    lane.virtualTime = Math.max(lane.virtualTime, this.turnTag(flow))
    flow.line.shift()
    flow.tag += ticket.share / ticket.weight
    this.settleLane(ticket)
  }

  correct(ticket: Ticket, shareDelta: number): void {
    this.flowOf(ticket).tag += shareDelta / ticket.weight
    this.settleLane(ticket)
  }

  age(now: number): void {
    for (let index = LANES.length - 1; index > 0; index--) {
      const due = [...(this.lanes[index]?.flows.values() ?? [])]
        .flatMap((flow) => flow.line)
        .filter((ticket) => (this.laneSince.get(ticket) ?? 0) + AGING_MS <= now)
        .sort((a, b) => this.byAge(a, b))
      const lastTurn = Math.max(...this.lanes.slice(0, index).map((lane) => lane.lastTurn))
      for (const ticket of due) {
        if (lastTurn <= (this.joinedAtTurn.get(ticket) ?? 0)) break
        const { laneSince } = this.remove(ticket)
        this.join(ticket, index - 1, laneSince + AGING_MS, Number.POSITIVE_INFINITY)
      }
    }
  }

  /** Nobody waits in the lane: all start equal at the furthest tag. */
  settleLane(ticket: Ticket): void {
    const lane = this.laneOf(ticket)
    const flows = [...lane.flows.values()]
    if (flows.some((flow) => flow.line.length > 0)) return
    lane.virtualTime = Math.max(lane.virtualTime, ...flows.map((flow) => flow.tag))
  }

  turnTag(flow: NaiveFlow): number {
    const [first] = flow.line
    return Math.min(flow.tag, (first && this.early.get(first)) ?? Number.POSITIVE_INFINITY)
  }

  byAge(a: Ticket | undefined, b: Ticket | undefined): number {
    if (!a || !b) return 0
    return (this.laneSince.get(a) ?? 0) - (this.laneSince.get(b) ?? 0) || a.order - b.order
  }

  laneOf(ticket: Ticket) {
    const lane = this.lanes[this.laneIndex.get(ticket) ?? 0]
    if (!lane) throw new Error('no such lane')
    return lane
  }

  flowOf(ticket: Ticket): NaiveFlow {
    const lane = this.laneOf(ticket)
    let flow = lane.flows.get(ticket.flowName)
    if (!flow) {
      flow = { tag: lane.virtualTime, line: [] }
      lane.flows.set(ticket.flowName, flow)
    }
    return flow
  }
}

type Step =
  | {
      readonly kind: 'append'
      readonly flow: string
      readonly lane: Lane
      readonly share: number
      readonly weight: number
    }
  | { readonly kind: 'serve' }
  | { readonly kind: 'remove'; readonly pick: number }
  | { readonly kind: 'restore'; readonly pick: number }
  | { readonly kind: 'correct'; readonly pick: number; readonly delta: number }
  | { readonly kind: 'finish'; readonly pick: number }
  | { readonly kind: 'wait'; readonly ms: number }

const kind = <K extends Step['kind']>(name: K) => fc.constant(name)
const eighths = (min: number, max: number) => fc.integer({ min, max }).map((n) => n / 8)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: kind('append'),
      flow: fc.constantFrom('a', 'b', 'c', 'd'),
      lane: fc.constantFrom<Lane>('high', 'normal', 'normal', 'low'),
      share: eighths(0, 24),
      weight: fc.constantFrom(0.5, 1, 2),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: kind('serve') }) },
  fc.record({ kind: kind('remove'), pick: fc.nat() }),
  fc.record({ kind: kind('restore'), pick: fc.nat() }),
  fc.record({ kind: kind('correct'), pick: fc.nat(), delta: eighths(-8, 8) }),
  { weight: 2, arbitrary: fc.record({ kind: kind('finish'), pick: fc.nat() }) },
  fc.record({ kind: kind('wait'), ms: fc.nat(60) }),
)

/** A queue and its naive twin, driven by one history. */
class Twins {
  readonly queue = new FairQueue(AGING_MS)
  readonly naive = new NaiveQueue()
  readonly waiting: Ticket[] = []
  readonly held: Ticket[] = []
  readonly places: { readonly flow: string; readonly place: Place }[] = []
  now = 0

  follow(doing: Step): void {
    switch (doing.kind) {
      case 'append':
        this.append(doing)
        break
      case 'serve':
        this.serve()
        break
      case 'remove':
        this.remove(doing.pick)
        break
      case 'restore':
        this.restore(doing.pick)
        break
      case 'correct':
        this.correct(doing.pick, doing.delta)
        break
      case 'finish':
        this.finish(doing.pick)
        break
      case 'wait':
        this.now += doing.ms
    }
  }

  append(wish: Wish): void {
    const ticket = ticketOf(wish, this.now)
    this.waiting.push(ticket)
    this.queue.append(ticket)
    this.naive.join(ticket, ticket.laneIndex, this.now, Number.POSITIVE_INFINITY)
  }

  serve(): void {
    const head = this.queue.head(this.now)
    expect(head?.id).toBe(this.naive.head(this.now)?.id)
    if (!head) return
    this.waiting.splice(this.waiting.indexOf(head), 1)
    this.held.push(head)
    this.queue.serve(head)
    this.naive.serve(head)
  }

  remove(pick: number): void {
    const ticket = this.waiting[pick % this.waiting.length]
    if (!ticket) return
    const place = this.queue.remove(ticket)
    expect(place).toEqual(this.naive.remove(ticket))
    this.waiting.splice(this.waiting.indexOf(ticket), 1)
    this.places.push({ flow: ticket.flowName, place })
  }

  restore(pick: number): void {
    const [kept] = this.places.splice(pick % Math.max(1, this.places.length), 1)
    if (!kept) return
    const { flow, place } = kept
    const ticket = ticketOf({ flow, place }, this.now)
    this.waiting.push(ticket)
    this.queue.restore(ticket, place.startTag)
    this.naive.join(ticket, ticket.laneIndex, place.laneSince, place.startTag)
  }

  correct(pick: number, delta: number): void {
    const ticket = this.held[pick % this.held.length]
    if (!ticket) return
    this.queue.correct(ticket, delta)
    if (delta !== 0) this.naive.correct(ticket, delta)
  }

  finish(pick: number): void {
    const [ticket] = this.held.splice(pick % Math.max(1, this.held.length), 1)
    if (ticket) this.queue.finish(ticket)
  }
}

describe('FairQueue', () => {
  it('is left by a ticket as if that had never come, however odd its share', () => {
    const startTag = (visitors: readonly number[]): number => {
      const queue = new FairQueue(AGING_MS)
      queue.append(ticketOf({ share: 1 / 3 }))
      queue.append(ticketOf({ share: 1 / 3 }))
      const guests = visitors.map((share) => ticketOf({ share }))
      for (const guest of guests) queue.append(guest)
      for (const guest of guests) queue.remove(guest)
      return queue.startTagOf(ticketOf({}))
    }
    const share = fc.double({ min: 0, max: 1000, noNaN: true })
    fc.assert(
      fc.property(fc.array(share), (visitors) => {
        expect(startTag(visitors)).toBe(startTag([]))
      }),
    )
  })

  it('decides as a naive queue does that looks for everything', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const twins = new Twins()
        for (const doing of steps) {
          twins.follow(doing)
          expect(twins.queue.waiting).toBe(twins.waiting.length)
        }
        while (twins.waiting.length > 0) twins.serve()
        while (twins.held.length > 0) twins.finish(0)
        expect(twins.queue.flows).toBe(0)
      }),
      { numRuns: 500 },
    )
  })

  it('keeps backlogged flows within their largest turns of each other, by weight', () => {
    const shares = fc.array(eighths(1, 40), { minLength: 300, maxLength: 300 })
    const weight = fc.constantFrom(0.5, 1, 3)
    fc.assert(
      fc.property(shares, shares, weight, weight, (sharesA, sharesB, weightA, weightB) => {
        const queue = new FairQueue(Number.POSITIVE_INFINITY)
        for (const share of sharesA) queue.append(ticketOf({ flow: 'a', weight: weightA, share }))
        for (const share of sharesB) queue.append(ticketOf({ flow: 'b', weight: weightB, share }))
        const left = { a: sharesA.length, b: sharesB.length }
        const served = { a: 0, b: 0 }
        const bound = Math.max(...sharesA) / weightA + Math.max(...sharesB) / weightB
        while (left.a > 0 && left.b > 0) {
          const head = queue.head(0)
          if (!head) break
          queue.serve(head)
          const flow = head.flowName === 'a' ? 'a' : 'b'
          left[flow]--
          served[flow] += head.share / head.weight
          expect(Math.abs(served.a - served.b)).toBeLessThanOrEqual(bound)
        }
      }),
      { numRuns: 50 },
    )
  })

  it('serves a lane before all that follow it', () => {
    const queue = new FairQueue(AGING_MS)
    const wishes = ['low', 'normal', 'critical', 'high'] as const
    for (const lane of wishes) queue.append(ticketOf({ id: lane, lane, flow: lane }))
    expect(drain(queue)).toEqual(['critical', 'high', 'normal', 'low'])
  })

  it('lets a ticket rise a lane after each interval, whenever it looks', () => {
    const queue = new FairQueue(AGING_MS)
    queue.append(ticketOf({ id: 'old', lane: 'low', flow: 'old' }, 0))
    queue.append(ticketOf({ id: 'first', lane: 'normal', flow: 'new' }, 50))
    queue.append(ticketOf({ id: 'second', lane: 'normal', flow: 'new' }, 60))
    expect(queue.head(99)?.id).toBe('first')
    expect(drain(queue, 100)).toEqual(['first', 'old', 'second'])
  })

  it('lets it rise one lane for each time that it is passed over, when it is overdue', () => {
    const queue = new FairQueue(AGING_MS)
    queue.append(ticketOf({ id: 'old', lane: 'low', flow: 'old' }, 0))
    for (let count = 0; count < 5; count++)
      queue.append(ticketOf({ id: `c${count}`, lane: 'critical', flow: 'new' }, 350))
    expect(drain(queue, 350)).toEqual(['c0', 'c1', 'c2', 'old', 'c3', 'c4'])
  })

  it('leaves a ticket in its lane that nobody has passed over', () => {
    const queue = new FairQueue(AGING_MS)
    for (let count = 0; count < 3; count++) queue.append(ticketOf({ flow: 'greedy', lane: 'low' }))
    queue.append(ticketOf({ id: 'polite', flow: 'polite', lane: 'low' }, 500))
    expect(drain(queue, 1000).indexOf('polite')).toBe(1)
  })

  it('lets old tickets rise although younger ones were put back in line', () => {
    const queue = new FairQueue(AGING_MS)
    queue.append(ticketOf({ id: 'old', lane: 'low', flow: 'old' }, 0))
    const young = ticketOf({ id: 'young', lane: 'low', flow: 'young' }, 90)
    queue.append(young)
    queue.restore(young, queue.remove(young).startTag)
    queue.append(ticketOf({ id: 'normal', lane: 'normal', flow: 'new' }, 95))
    expect(drain(queue, 100)).toEqual(['normal', 'old', 'young'])
  })

  it('serves flows that take nothing in the order of their coming', () => {
    const queue = new FairQueue(AGING_MS)
    for (const [index, flow] of ['a', 'a', 'b', 'a', 'b'].entries())
      queue.append(ticketOf({ id: `${flow}${index}`, flow, share: 0 }))
    expect(drain(queue)).toEqual(['a0', 'a1', 'b2', 'a3', 'b4'])
  })

  it('gives a restored ticket its early turn, and its flow no more than that', () => {
    const queue = new FairQueue(AGING_MS)
    const early = ticketOf({ id: 'early', flow: 'a' })
    queue.append(early)
    const place = queue.remove(early)
    for (let count = 0; count < 10; count++) queue.append(ticketOf({ id: `b${count}`, flow: 'b' }))
    for (let count = 0; count < 5; count++) {
      const head = queue.head(0)
      if (head) queue.serve(head)
    }
    queue.restore(ticketOf({ id: 'restored', flow: 'a', place }), place.startTag)
    queue.append(ticketOf({ id: 'a1', flow: 'a' }))
    queue.append(ticketOf({ id: 'a2', flow: 'a' }))
    expect(drain(queue)).toEqual(['restored', 'b5', 'a1', 'b6', 'a2', 'b7', 'b8', 'b9'])
  })

  it('keeps the order of a flow’s tickets when several are put back', () => {
    const queue = new FairQueue(AGING_MS)
    const list = ['1', '2', '3', '4'].map((id, index) => ticketOf({ id }, index))
    for (const ticket of list) queue.append(ticket)
    const places = list.slice(0, 3).map((ticket) => ({ ticket, place: queue.remove(ticket) }))
    for (const { ticket, place } of [...places].reverse()) queue.restore(ticket, place.startTag)
    expect(drain(queue)).toEqual(['1', '2', '3', '4'])
  })

  it('starts a flow that comes back after a rest with no credit', () => {
    const queue = new FairQueue(AGING_MS)
    queue.append(ticketOf({ id: 'a0', flow: 'a' }))
    for (let count = 0; count < 10; count++) queue.append(ticketOf({ id: `b${count}`, flow: 'b' }))
    for (let count = 0; count < 6; count++) {
      const head = queue.head(0)
      if (head) queue.serve(head)
    }
    for (let count = 1; count < 4; count++) queue.append(ticketOf({ id: `a${count}`, flow: 'a' }))
    expect(drain(queue).slice(0, 4)).toEqual(['a1', 'b5', 'a2', 'b6'])
  })

  it('remembers the debt of a flow while others wait', () => {
    const queue = new FairQueue(AGING_MS)
    const costly = ticketOf({ id: 'a0', flow: 'a' })
    queue.append(costly)
    for (let count = 0; count < 6; count++) queue.append(ticketOf({ id: `b${count}`, flow: 'b' }))
    queue.serve(costly)
    queue.correct(costly, 3)
    queue.finish(costly)
    queue.append(ticketOf({ id: 'a1', flow: 'a' }))
    expect(drain(queue)).toEqual(['b0', 'b1', 'b2', 'b3', 'b4', 'a1', 'b5'])
  })

  it('neither remembers ever new flows for ever nor starves an old one for them', () => {
    const queue = new FairQueue(AGING_MS)
    queue.append(ticketOf({ flow: 'old' }))
    queue.append(ticketOf({ id: 'old', flow: 'old' }))
    let servedAfter = 0
    for (let count = 0; count < 20_000; count++) {
      queue.append(ticketOf({ flow: `new${count}` }))
      const head = queue.head(0)
      if (!head) break
      queue.serve(head)
      queue.finish(head)
      if (head.id === 'old') servedAfter = count
      expect(queue.flows).toBeLessThan(1100)
    }
    expect(servedAfter).toBeGreaterThan(0)
    expect(servedAfter).toBeLessThan(2100)
  })

  it('forgets a flow that is deleted while it holds turns only once the last is finished', () => {
    const queue = new FairQueue(AGING_MS)
    const held = [ticketOf({}), ticketOf({})]
    for (const ticket of held) queue.append(ticket)
    for (const ticket of held) queue.serve(ticket)
    expect(queue.flows).toBe(1)
    for (const ticket of held) {
      queue.correct(ticket, -1)
      queue.finish(ticket)
      queue.finish(ticket)
    }
    expect(queue.flows).toBe(0)
  })

  it('tells what goes before a ticket', () => {
    const queue = new FairQueue(AGING_MS)
    const alone = ticketOf({ flow: 'a' })
    expect(queue.aheadOf(alone).tickets).toBe(0)
    queue.append(alone)
    expect(queue.aheadOf(alone).tickets).toBe(0)
    const lane = 'high'
    for (let count = 0; count < 3; count++) queue.append(ticketOf({ flow: 'h', lane }))
    expect(queue.aheadOf(alone)).toMatchObject({ tickets: 3, input_tokens: 30 })

    const list = Array.from({ length: 5 }, () => ticketOf({ flow: 'b', lane }))
    for (const ticket of list) queue.append(ticket)
    const ahead = list.map((ticket) => queue.aheadOf(ticket).tickets)
    expect(ahead).toEqual([1, 3, 5, 7, 7])
    expect(queue.aheadOf(ticketOf({ flow: 'new', lane: 'low' })).tickets).toBe(9)
  })

  it('refuses to serve or remove what is not in line', () => {
    const queue = new FairQueue(AGING_MS)
    const stranger = ticketOf({})
    expect(() => queue.serve(stranger)).toThrow(stranger.id)
    expect(() => queue.remove(stranger)).toThrow(stranger.id)
  })
})
