import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Bounce } from '../../src/core/admission.ts'
import { VirtualClock } from '../../src/core/clock.ts'
import { costOf } from '../../src/core/cost.ts'
import { seededRandom } from '../../src/core/random.ts'
import { FakeServer, type Fault } from './fake-gates.ts'
import {
  advance,
  type Caller,
  Process,
  perMinute,
  RESOURCE,
  START_AT,
  settingsWith,
  slots,
} from './process.ts'

const SETTINGS = settingsWith(slots(2), perMinute(600))

type Step =
  | { readonly kind: 'ask'; readonly who: number; readonly input: number; readonly parked: boolean }
  | {
      readonly kind: 'leave' | 'leave for good' | 'settle' | 'release' | 'unpark'
      readonly who: number
      readonly pick: number
    }
  | {
      readonly kind: 'bounce'
      readonly who: number
      readonly pick: number
      readonly why: Bounce['kind']
    }
  | { readonly kind: 'cut' | 'restore' | 'deafen' | 'merge'; readonly who: number }
  | { readonly kind: 'trouble'; readonly who: number; readonly seed: number }
  | { readonly kind: 'lose state' }
  | { readonly kind: 'wait'; readonly ms: number }

const who = fc.nat(1)
const pick = fc.nat(50)
const one = <K extends Step['kind']>(...kinds: readonly K[]) => fc.constantFrom(...kinds)

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: one('ask'),
      who,
      input: fc.integer({ min: 1, max: 60 }),
      parked: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: one('leave', 'leave for good', 'settle', 'settle', 'release', 'unpark'),
      who,
      pick,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: one('bounce'),
      who,
      pick,
      why: fc.constantFrom<Bounce['kind']>(
        'rate_limited',
        'overloaded',
        'disconnected',
        'repriced',
      ),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: one('cut', 'restore', 'restore', 'deafen'), who }) },
  { weight: 2, arbitrary: fc.record({ kind: one('trouble'), who, seed: fc.nat(1000) }) },
  fc.record({ kind: one('lose state') }),
  fc.record({ kind: one('merge'), who }),
  {
    weight: 8,
    arbitrary: fc.record({
      kind: one('wait'),
      ms: fc.oneof(fc.nat(20), fc.nat(400), fc.nat(5000), fc.nat(30_000)),
    }),
  },
)

interface World {
  readonly clock: VirtualClock
  readonly server: FakeServer
  readonly processes: readonly [Process, Process]
}

function begin(latencyMs: number): World {
  const clock = new VirtualClock(START_AT)
  const server = new FakeServer(clock, () => SETTINGS)
  const processes = [
    new Process(server, clock, 'a', SETTINGS),
    new Process(server, clock, 'bb', SETTINGS),
  ] as const
  const random = seededRandom(latencyMs)
  for (const { gates } of processes) gates.latencyMs = () => Math.round(random() * latencyMs)
  return { clock, server, processes: [...processes] }
}

/** Asks without waiting for the answer: operations overlap, with each other and with what befalls them. */
async function follow(world: World, step: Step): Promise<void> {
  const { clock, server, processes } = world
  if (step.kind === 'wait') return advance(clock, step.ms)
  if (step.kind === 'lose state') return server.loseState()
  const process = processes[step.who] ?? processes[0]
  const { gates } = process
  switch (step.kind) {
    case 'ask':
      void process.ask(step)
      return
    case 'cut':
      if (gates.isReachable) gates.cutOff()
      return
    case 'restore':
      calm(process)
      return
    case 'merge':
      void process.merge('other')
      return
    case 'deafen':
      gates.isDeaf = true
      return
    case 'trouble': {
      const random = seededRandom(step.seed)
      gates.faultOf = () => faultFrom(random())
      return
    }
    default:
      useTicket(process, step)
  }
}

const faultFrom = (drawn: number): Fault =>
  drawn < 0.2 ? 'before' : drawn < 0.4 ? 'after' : 'none'

function useTicket(
  process: Process,
  step: Extract<
    Step,
    { readonly kind: 'leave' | 'leave for good' | 'settle' | 'release' | 'unpark' | 'bounce' }
  >,
): void {
  const among = (callers: readonly Caller[]) => callers[step.pick % callers.length]
  const [held, waiting] = [among(process.in('held')), among(process.in('waiting'))]
  const parked = among(process.in('waiting').filter((caller) => caller.parked))
  if (step.kind === 'leave' && waiting) void process.leave(waiting)
  const either = among([...process.in('held'), ...process.in('waiting')])
  if (step.kind === 'leave for good' && either) void process.leaveForGood(either)
  if (step.kind === 'settle' && held) void process.settle(held)
  if (step.kind === 'release' && held) void process.release(held)
  if (step.kind === 'unpark' && parked) void process.unpark(parked)
  if (step.kind === 'bounce' && held) void process.bounce(held, bounceFor(step.why))
}

function bounceFor(why: Bounce['kind']): Bounce {
  if (why === 'repriced') return { kind: why, estimate: costOf({ input_tokens: 50 }) }
  if (why !== 'rate_limited') return { kind: why, backoffMs: 300 }
  return { kind: why, retryAfterMs: 700, observation: { limits: [], sentAt: START_AT } }
}

function calm({ gates }: Process): void {
  gates.isDeaf = false
  gates.faultOf = () => 'none'
  if (!gates.isReachable) gates.restore()
}

/** Lets all be served that have not been. */
async function serveAll({ clock, processes }: World): Promise<void> {
  for (const process of processes) calm(process)
  for (let second = 0; second < 900; second++) {
    await advance(clock, 1000)
    for (const process of processes) {
      for (const caller of process.in('waiting')) if (caller.parked) void process.unpark(caller)
      for (const caller of process.in('held')) void process.settle(caller)
    }
    if (processes.every((process) => process.callers.every(isDone))) return
  }
}

const isDone = ({ state }: Caller): boolean => ['over', 'refused', 'left'].includes(state)

describe('whatever befalls the shared gates', () => {
  it('nobody is lost or let in twice, and all slots are free in the end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60, size: 'max' }),
        fc.constantFrom(0, 5, 60),
        async (steps, latencyMs) => {
          const world = begin(latencyMs)
          for (const each of steps) await follow(world, each)
          await serveAll(world)
          const { clock, processes, server } = world
          for (const { callers } of processes)
            expect(callers.filter((caller) => !isDone(caller))).toEqual([])
          // Whatever a lost answer has left behind is found by signs of life.
          await advance(clock, 20_000)
          for (const { store } of processes) expect(store.isDegraded).toBe(false)
          for (const { inFlight, queued } of await server.gates.snapshot())
            expect([inFlight, queued]).toEqual([0, 0])
          for (const { gates } of processes)
            for (const resource of [RESOURCE, 'other']) server.expire(gates.instance, resource)
          expect([...server.known.keys()]).toEqual([])
          for (const { store } of processes) await store.close()
        },
      ),
      { numRuns: 300 },
    )
  }, 120_000)
})
