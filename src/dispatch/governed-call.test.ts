import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import type { Refusal } from '../core/refusal.ts'
import { StoreUnreachable } from '../core/store.ts'
import { Estimator } from '../estimate/estimator.ts'
import { Prices } from '../ledger/prices.ts'
import { ANONYMOUS } from '../policy/subject.ts'
import { Subjects } from '../policy/subjects.ts'
import { anthropic } from '../providers/anthropic/anthropic.ts'
import { MemoryStore } from '../stores/memory/memory-store.ts'
import type { CallRules } from './call-rules.ts'
import type { Caller } from './caller.ts'
import { Dispatcher } from './dispatcher.ts'
import type { GovernedCall } from './governed-call.ts'
import type { Flight, Upstream, UpstreamHandler, UpstreamRequest } from './upstream.ts'

const NO_RULES: CallRules = {
  subjects: new Subjects({
    tiers: new Map(),
    defaultTier: null,
    users: new Map(),
    teams: new Map(),
    keys: [],
    warnAt: [],
  }),
  prices: new Prices([]),
  sendsUnpriced: false,
  fallbacks: [],
  fallbackAfterMs: 30_000,
}

/** An upstream that a test answers by hand. */
class HandUpstream implements Upstream {
  readonly flights: (Flight & { readonly handler: UpstreamHandler; isAborted: boolean })[] = []

  send(_request: UpstreamRequest, handler: UpstreamHandler): Flight {
    const flight = {
      handler,
      isAborted: false,
      resume: () => {},
      abort: () => {
        flight.isAborted = true
      },
    }
    this.flights.push(flight)
    return flight
  }

  /** The latest, unless it was aborted: after that its handler hears nothing. */
  get handler(): UpstreamHandler | null {
    const flight = this.flights.at(-1)
    return flight && !flight.isAborted ? flight.handler : null
  }
}

class RecordingCaller implements Caller {
  readonly said: string[] = []
  body = ''

  waiting(): void {
    this.said.push('waiting')
  }
  respond(status: number): void {
    this.said.push(`respond ${status}`)
  }
  write(chunk: Buffer): boolean {
    this.body += chunk.toString()
    return true
  }
  end(): void {
    this.said.push('end')
  }
  refuse({ reason }: Refusal): void {
    this.said.push(`refuse ${reason}`)
  }
  fail({ reason }: Refusal): void {
    this.said.push(`fail ${reason}`)
  }
}

function open() {
  const clock = new VirtualClock(1_000_000)
  const upstream = new HandUpstream()
  const failures: unknown[] = []
  const ends: string[] = []
  const store = new MemoryStore(clock, () => ({
    limits: [
      { algorithm: 'concurrency', dimension: 'concurrency', amount: 1, source: 'configured' },
    ],
    learns: true,
    agingMs: 60_000,
    maxQueued: 10,
    floors: { soft: 0, hard: 0 },
  }))
  const dispatcher = new Dispatcher({
    clock,
    random: () => 0.5,
    store,
    ledger: null,
    rules: NO_RULES,
    estimator: new Estimator(),
    upstream,
    baseOf: () => ({ origin: 'http://upstream', pathPrefix: '' }),
    events: {
      settled: (_facts, outcome) => ends.push(`settled ${outcome}`),
      refused: (_facts, { reason }) => ends.push(`refused ${reason}`),
      cancelled: () => ends.push('cancelled'),
      bounced: () => {},
      shadowed: () => {},
      budgetWarned: () => {},
      failed: (error) => failures.push(error),
    },
  })
  let count = 0
  const start = async (maxWaitMs = 600_000) => {
    const caller = new RecordingCaller()
    const operation = anthropic.match('POST', '/v1/messages', {})
    if (!operation) throw new Error('messages are no operation')
    const call = dispatcher.start(
      {
        id: `call-${count++}`,
        provider: anthropic,
        operation,
        method: 'POST',
        headers: { 'x-api-key': 'k' },
        forwardHeaders: [],
        base: null,
        body: Buffer.from('{"model":"claude-sonnet-5","max_tokens":10}'),
        identity: ANONYMOUS,
        believesBody: false,
        flow: null,
        lane: null,
        deadlineAt: clock.now() + maxWaitMs,
        longestPlainWaitMs: Number.POSITIVE_INFINITY,
      },
      caller,
    )
    await settled()
    return { call, caller }
  }
  return { clock, upstream, store, dispatcher, failures, ends, start }
}

/** Lets promises that are due resolve. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const JSON_ANSWER = { 'content-type': 'application/json' }

describe('a governed call', () => {
  it('passes an answer through and ends once', async () => {
    const { upstream, start, ends, dispatcher } = open()
    const { caller } = await start()
    upstream.handler?.onHeaders(200, JSON_ANSWER)
    upstream.handler?.onData(Buffer.from('{}'))
    upstream.handler?.onEnd()
    expect(caller.said).toEqual(['respond 200', 'end'])
    expect(caller.body).toBe('{}')
    expect(ends).toEqual(['settled answered'])
    expect(dispatcher.size).toBe(0)
  })

  it('tells its caller that it waits again when the provider refuses', async () => {
    const { clock, upstream, start } = open()
    const { caller } = await start()
    upstream.handler?.onHeaders(429, { 'retry-after': '5' })
    upstream.handler?.onEnd()
    await settled()
    expect(caller.said).toEqual(['waiting'])
    clock.advanceTo(clock.now() + 5000)
    await settled()
    expect(upstream.flights).toHaveLength(2)
  })

  it('hears the provider’s own refusal when it has refused until the time is up', async () => {
    const { clock, upstream, start, ends } = open()
    const { caller } = await start(60_000)
    for (let second = 0; second < 61; second++) {
      upstream.handler?.onHeaders(429, { 'retry-after': '1' })
      upstream.handler?.onEnd()
      clock.advanceTo(clock.now() + 1000)
      await settled()
    }
    expect(upstream.flights.length).toBeGreaterThan(10)
    expect(caller.said.slice(-2)).toEqual(['respond 429', 'end'])
    expect(ends).toEqual(['settled provider_error'])
  })

  it('does not count refusals for a limit as tries in trouble', async () => {
    const { clock, upstream, start } = open()
    const { caller } = await start()
    const later = async () => {
      clock.advanceTo(clock.now() + 30_000)
      await settled()
    }
    for (let count = 0; count < 8; count++) {
      upstream.handler?.onHeaders(429, { 'retry-after': '1' })
      upstream.handler?.onEnd()
      await later()
    }
    upstream.handler?.onFailure({ kind: 'broken', detail: 'x' })
    await later()
    upstream.handler?.onHeaders(529, {})
    upstream.handler?.onEnd()
    await later()
    upstream.handler?.onHeaders(200, JSON_ANSWER)
    upstream.handler?.onEnd()
    expect(caller.said.slice(-2)).toEqual(['respond 200', 'end'])
  })

  it('refuses all who wait, and who would wait, once it drains', async () => {
    const { upstream, start, dispatcher } = open()
    const first = await start()
    const second = await start()
    const drained = dispatcher.drain()
    const third = await start()
    expect(second.caller.said).toEqual(['waiting', 'refuse shutting_down'])
    expect(third.caller.said).toEqual(['refuse shutting_down'])
    upstream.handler?.onHeaders(529, {})
    upstream.handler?.onEnd()
    await drained
    expect(first.caller.said.at(-1)).toBe('refuse shutting_down')
  })

  it('is refused while the store is out of reach, which is no failure of the gate', async () => {
    const { store, start, ends, failures, dispatcher } = open()
    store.enqueue = () => Promise.reject(new StoreUnreachable('redis://r:1 is gone'))
    const { caller } = await start()
    expect(caller.said).toEqual(['refuse store_failed'])
    expect(ends).toEqual(['refused store_failed'])
    expect(failures).toEqual([])
    expect(dispatcher.size).toBe(0)
  })

  it('is refused when the store fails, and that is told', async () => {
    const { store, start, ends, failures } = open()
    const failure = new TypeError('broken')
    store.enqueue = () => Promise.reject(failure)
    const { caller } = await start()
    expect(caller.said).toEqual(['refuse store_failed'])
    expect(ends).toEqual(['refused store_failed'])
    expect(failures).toEqual([failure])
  })

  it('drains at once where nothing is under way', async () => {
    const { dispatcher } = open()
    await dispatcher.drain()
    expect(dispatcher.size).toBe(0)
  })
})

type Bench = ReturnType<typeof open>

/** All that can happen to a call, in any order that a transport allows. */
const HAPPENINGS: Record<string, (bench: Bench, call: GovernedCall) => void> = {
  answer: ({ upstream }) => upstream.handler?.onHeaders(200, JSON_ANSWER),
  refuse: ({ upstream }) => upstream.handler?.onHeaders(429, { 'retry-after': '3' }),
  overload: ({ upstream }) => upstream.handler?.onHeaders(529, {}),
  reject: ({ upstream }) => upstream.handler?.onHeaders(400, JSON_ANSWER),
  data: ({ upstream }) => void upstream.handler?.onData(Buffer.from('{"usage":{}}')),
  much: ({ upstream }) => void upstream.handler?.onData(Buffer.alloc(70_000)),
  end: ({ upstream }) => upstream.handler?.onEnd(),
  reset: ({ upstream }) => upstream.handler?.onFailure({ kind: 'broken', detail: 'x' }),
  silence: ({ upstream }) => upstream.handler?.onFailure({ kind: 'timeout', detail: 'x' }),
  down: ({ upstream }) => upstream.handler?.onFailure({ kind: 'unreachable', detail: 'x' }),
  leave: (_bench, call) => call.abandon(),
  turnAway: (_bench, call) => call.turnAway(),
  resume: (_bench, call) => call.resume(),
  second: ({ clock }) => clock.advanceTo(clock.now() + 1000),
  minute: ({ clock }) => clock.advanceTo(clock.now() + 60_000),
}

const LAST = /^(end|refuse|fail)/

describe('whatever happens to a call', () => {
  const step = fc.constantFrom(...Object.keys(HAPPENINGS))

  it('it ends once, its caller hears one last word, and nothing is left of it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const bench = open()
        const { call, caller } = await bench.start()
        let hasLeft = false
        for (const name of steps) {
          hasLeft ||= name === 'leave'
          HAPPENINGS[name]?.(bench, call)
          await settled()
        }
        if (bench.dispatcher.size > 0) {
          hasLeft = true
          call.abandon()
        }
        await settled()
        const lastWords = caller.said.filter((word) => LAST.test(word))
        expect(lastWords.length).toBeLessThanOrEqual(1)
        if (!hasLeft) expect(lastWords).toHaveLength(1)
        if (lastWords.length > 0) expect(caller.said.at(-1)).toBe(lastWords[0])
        expect(bench.ends).toHaveLength(1)
        expect(bench.failures).toEqual([])
        expect(bench.dispatcher.size).toBe(0)
        expect(bench.dispatcher.waits.size).toBe(0)
        for (const { inFlight, queued } of await bench.store.snapshot())
          expect([inFlight, queued]).toEqual([0, 0])
      }),
      { numRuns: 300 },
    )
  })
})
