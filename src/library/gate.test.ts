import { afterEach, describe, expect, it } from 'vitest'
import { Invalid, LeaseLost, Refused } from '../client/errors.ts'
import type { Progress } from '../client/lease.ts'
import { VirtualClock } from '../core/clock.ts'
import type { GateEvents } from '../engine/program-events.ts'
import { ConfigError } from '../policy/problem.ts'
import type { Gate, GateAcquireOptions } from './gate.ts'
import { createGate, type GateConfig } from './library.ts'

const gates: Gate[] = []
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close({ graceMs: 0 })
})

/** Lets everything happen that needs no time to pass. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const ONE_AT_ONCE: GateConfig = { resources: { model: { concurrency: 1 } } }

async function open(config: GateConfig, events: Partial<GateEvents> = {}) {
  const clock = new VirtualClock(1_800_000_000_000)
  const failures: unknown[] = []
  const heard = { failed: (error: unknown) => failures.push(error), ...events }
  const gate = await createGate(config, { clock, random: () => 0.5, events: heard })
  // Closing waits for time to pass, which nobody else lets pass by then.
  gates.push({ ...gate, close: (options) => closed(gate, clock, options) })
  return { gate, clock, failures }
}

async function closed(gate: Gate, clock: VirtualClock, options: { graceMs?: number } = {}) {
  const closing = gate.close(options)
  await settled()
  clock.advanceTo(clock.now() + (options.graceMs ?? 10_000))
  await closing
}

const holdersOf = async (gate: Gate): Promise<number> =>
  (await gate.snapshot()).reduce((sum, { inFlight }) => sum + inFlight, 0)

const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (error: unknown) => error,
  )

/** An ask, and what it comes to, as far as it has. */
function asking(gate: Gate, options: GateAcquireOptions = {}) {
  const seen: { outcome: 'waiting' | 'granted' | 'failed' } = { outcome: 'waiting' }
  const lease = gate.acquire('model', options)
  lease.then(
    () => {
      seen.outcome = 'granted'
    },
    () => {
      seen.outcome = 'failed'
    },
  )
  return { seen, lease }
}

describe('acquire', () => {
  it('takes its turn when it comes, and says how long that took', async () => {
    const { gate, clock } = await open({ resources: { model: { tokens: '60000/min' } } })
    await (await gate.acquire('model', { load: 60_000 })).settle()
    const { seen, lease } = asking(gate, { load: 15_000 })
    await settled()
    clock.advanceTo(clock.now() + 14_990)
    await settled()
    expect(seen.outcome).toBe('waiting')
    clock.advanceTo(clock.now() + 10)
    const { grantedAt, waitedMs, resource, id } = await lease
    expect({ grantedAt, waitedMs, resource }).toEqual({
      grantedAt: clock.now(),
      waitedMs: 15_000,
      resource: 'model',
    })
    expect(id).toMatch(/^lease\./)
  })

  it('holds a slot until it is ended, once', async () => {
    const { gate } = await open(ONE_AT_ONCE)
    const first = await gate.acquire('model')
    const { seen, lease } = asking(gate)
    await settled()
    expect(seen.outcome).toBe('waiting')
    await first.release()
    const second = await lease
    // Its slot is the next one's: what comes after the first end does nothing.
    await first.settle(5)
    await first.release()
    expect(await holdersOf(gate)).toBe(1)
    await second.settle()
    expect(await holdersOf(gate)).toBe(0)
  })

  it('lasts, without any sign of life', async () => {
    const { gate, clock } = await open(ONE_AT_ONCE)
    const lease = await gate.acquire('model')
    clock.advanceTo(clock.now() + 86_400_000)
    await settled()
    expect(await holdersOf(gate)).toBe(1)
    expect(lease.signal.aborted).toBe(false)
  })

  it('is charged what it used, or what was asked for, or nothing', async () => {
    const { gate } = await open({
      resources: { model: { tokens: '1000/hour', requests: '9/hour' } },
    })
    const left = async () => (await gate.snapshot())[0]?.limits.map(({ remaining }) => remaining)
    await (await gate.acquire('model', { load: 100 })).settle(40)
    expect(await left()).toEqual(expect.arrayContaining([960, 8]))
    await (await gate.acquire('model', { load: 100 })).settle()
    expect(await left()).toEqual(expect.arrayContaining([860, 7]))
    await (await gate.acquire('model', { load: 100 })).release()
    expect(await left()).toEqual(expect.arrayContaining([860, 7]))
    await (await gate.acquire('model', { load: 100 })).settle({ requests: 2, input_tokens: 30 })
    expect(await left()).toEqual(expect.arrayContaining([830, 5]))
  })

  it('serves lanes and flows as every door does', async () => {
    const { gate } = await open(ONE_AT_ONCE)
    const first = await gate.acquire('model')
    const order: string[] = []
    const work = async (name: string, options: GateAcquireOptions) => {
      await using _lease = await gate.acquire('model', options)
      order.push(name)
    }
    const all = [
      work('a1', { flow: 'a' }),
      work('a2', { flow: 'a' }),
      work('low', { lane: 'low' }),
      work('b1', { flow: 'b' }),
      work('high', { lane: 'high' }),
    ]
    await settled()
    await first.release()
    await Promise.all(all)
    expect(order).toEqual(['high', 'a1', 'b1', 'a2', 'low'])
  })

  it('tells where it stands, at once and every few seconds', async () => {
    const { gate, clock } = await open({ resources: { model: { requests: '1/min' } } })
    await (await gate.acquire('model')).settle()
    const told: Progress[] = []
    const { lease } = asking(gate, { onProgress: (progress) => told.push(progress) })
    await settled()
    expect(told).toEqual([{ position: 0, expectedInMs: 60_000, boundBy: '1 requests per 60 s' }])
    clock.advanceTo(clock.now() + 5000)
    await settled()
    expect(told.at(-1)?.expectedInMs).toBe(55_000)
    clock.advanceTo(clock.now() + 60_000)
    await (await lease).release()
    const count = told.length
    clock.advanceTo(clock.now() + 60_000)
    await settled()
    expect(told).toHaveLength(count)
  })

  it('is granted although its listener fails, which is told', async () => {
    const { gate, failures } = await open(ONE_AT_ONCE)
    const first = await gate.acquire('model')
    const thrown = asking(gate, {
      onProgress() {
        throw new Error('the screen is gone')
      },
    })
    const rejected = asking(gate, {
      onProgress: async () => {
        throw new Error('the network is gone')
      },
    })
    await settled()
    await first.release()
    await (await thrown.lease).release()
    await (await rejected.lease).release()
    expect(failures).toEqual([new Error('the screen is gone'), new Error('the network is gone')])
  })

  it('takes of its user’s limits too', async () => {
    const { gate } = await open({
      resources: { model: { requests: '100/min' } },
      tiers: { free: { requests: '1/min' } },
      users: { alice: { tier: 'free' } },
    })
    await (await gate.acquire('model', { user: 'alice' })).settle()
    const error = await errorOf(gate.acquire('model', { user: 'alice' }))
    expect(error).toBeInstanceOf(Refused)
    expect(error).toMatchObject({ problem: { reason: 'limit_reached' }, retryAfterMs: 60_000 })
    await (await gate.acquire('model', { user: 'bob' })).settle()
  })
})

describe('leaving', () => {
  it('gives the place up at once, with the signal’s reason', async () => {
    const { gate } = await open(ONE_AT_ONCE)
    const first = await gate.acquire('model')
    const stop = new AbortController()
    const gone = asking(gate, { signal: stop.signal })
    const next = asking(gate)
    await settled()
    const reason = new Error('not wanted')
    stop.abort(reason)
    expect(await errorOf(gone.lease)).toBe(reason)
    await first.release()
    await (await next.lease).release()
    expect(await errorOf(gate.acquire('model', { signal: stop.signal }))).toBe(reason)
    expect(await holdersOf(gate)).toBe(0)
  })

  it('at any moment leaves nothing behind', async () => {
    const { gate } = await open({
      ...ONE_AT_ONCE,
      tiers: { t: { requests: '1000/min', concurrency: 5 } },
      default_tier: 't',
    })
    // A turn of the event loop has as many moments as there are promises on the way.
    for (let moment = 0; moment < 40; moment++)
      for (const user of ['alice', undefined]) {
        const stop = new AbortController()
        const lease = gate.acquire('model', { signal: stop.signal, ...(user && { user }) })
        for (let step = 0; step < moment; step++) await Promise.resolve()
        stop.abort(new Error('gone'))
        const held = await lease.catch(() => null)
        await settled()
        const model = (await gate.snapshot()).find(({ name }) => name === 'model')
        // Whoever has a lease has a slot.
        expect([moment, user, model?.inFlight ?? 0]).toEqual([moment, user, held ? 1 : 0])
        await held?.release()
        await settled()
        expect([moment, user, await holdersOf(gate)]).toEqual([moment, user, 0])
      }
  })

  it('by closing the gate at any moment takes the lease too, or tells that it is lost', async () => {
    for (let moment = 0; moment < 20; moment++) {
      const { gate } = await open(ONE_AT_ONCE)
      const first = await gate.acquire('model')
      const lease = gate.acquire('model')
      const outcome = lease.catch(() => null)
      await settled()
      const releasing = first.release()
      for (let step = 0; step < moment; step++) await Promise.resolve()
      const closing = gate.close({ graceMs: 0 })
      const held = await outcome
      expect([moment, await holdersOf(gate)]).toEqual([moment, held ? 1 : 0])
      await held?.release()
      await Promise.all([releasing, closing])
    }
  })
})

describe('what is asked for', () => {
  const config: GateConfig = {
    resources: { model: { requests: '10/min burst 5', tokens: '1000/min' } },
  }
  const wrong: [string, string, GateAcquireOptions, string, RegExp][] = [
    ['an unknown resource', 'modle', {}, 'resource', /did you mean model\?/],
    ['a user’s own limits', 'user/bob', {}, 'resource', /no resource user\/bob/],
    ['less than nothing', 'model', { load: -1 }, 'load', /^load is not an amount/],
    ['half a token', 'model', { load: { tokens: 1.5 } }, 'load.tokens', /is not an amount/],
    ['an unknown token', 'model', { load: JSON.parse('{"tokns":1}') }, 'load.tokns', /not known/],
    ['more than there is', 'model', { load: 1001 }, 'load', /1000 tokens per 60 s/],
    ['more at once', 'model', { load: { requests: 6 } }, 'load.requests', /5 at the most/],
    ['a wait into the past', 'model', { maxWaitMs: -1 }, 'maxWaitMs', /is no time/],
    ['nobody', 'model', { user: '' }, 'user', /is no name/],
    ['no flow', 'model', { flow: 'a\nb' }, 'flow', /is no name/],
    [
      'a wait without end',
      'model',
      { maxWaitMs: Number.POSITIVE_INFINITY },
      'maxWaitMs',
      /no time/,
    ],
    ['a mistyped option', 'model', JSON.parse('{"laod":1}'), 'laod', /did you mean load\?/],
    ['no signal', 'model', JSON.parse('{"signal":{}}'), 'signal', /is no signal/],
    ['no listener', 'model', JSON.parse('{"onProgress":5}'), 'onProgress', /is no function/],
    ['no options', 'model', JSON.parse('null'), 'options', /is no object/],
    ['no name', JSON.parse('5'), {}, 'resource', /is no name/],
  ]

  it.each(wrong)('%s is a mistake that names its field', async (_, name, options, field, words) => {
    const { gate } = await open(config)
    const error = await errorOf(gate.acquire(name, options))
    if (!(error instanceof Invalid)) throw error
    expect(error.errors.map((one) => one.field)).toEqual([field])
    expect(error.message).toMatch(words)
  })

  it('later than it may wait is refused at once, and says when there is room', async () => {
    const { gate } = await open({ resources: { model: { requests: '1/min' } } })
    await (await gate.acquire('model', { maxWaitMs: 0 })).settle()
    const error = await errorOf(gate.acquire('model', { maxWaitMs: 59_000 }))
    if (!(error instanceof Refused)) throw error
    expect(error.problem).toMatchObject({ status: 429, reason: 'wait_too_long' })
    expect(error.retryAfterMs).toBe(60_000)
    expect(error.message).toContain('bound by 1 requests per 60 s')
  })

  it('waits no longer than it may, where only others’ ends can tell', async () => {
    const { gate, clock } = await open({ ...ONE_AT_ONCE, queue: { max_wait: '20s' } })
    const first = await gate.acquire('model')
    const patient = asking(gate)
    const impatient = asking(gate, { maxWaitMs: 5000 })
    await settled()
    clock.advanceTo(clock.now() + 5000)
    expect(await errorOf(impatient.lease)).toMatchObject({ problem: { reason: 'waited_out' } })
    clock.advanceTo(clock.now() + 15_000)
    expect(await errorOf(patient.lease)).toBeInstanceOf(Refused)
    await first.release()
    expect(await holdersOf(gate)).toBe(0)
  })

  it('can be what the gate’s own key draws on', async () => {
    const { gate } = await open({ providers: { anthropic: { api_key: 'sk-ant-x' } } })
    await using lease = await gate.acquire('anthropic/claude-sonnet-5', { load: 100 })
    expect(lease.resource).toBe('anthropic/claude-sonnet-5')
    const names = (await gate.snapshot()).map(({ name }) => name)
    expect(names).toEqual([expect.stringMatching(/^anthropic\/[0-9a-f]{12}\/claude-sonnet-5$/)])
  })
})

describe('run', () => {
  it('gives what the work gives, and ends the lease', async () => {
    const { gate } = await open(ONE_AT_ONCE)
    const result = await gate.run('model', {}, async (lease) => {
      expect(await holdersOf(gate)).toBe(1)
      return lease.resource
    })
    expect(result).toBe('model')
    expect(await gate.run({}, () => 7)).toBe(7)
    expect(await gate.run('model', () => 7)).toBe(7)
    expect(await holdersOf(gate)).toBe(0)
  })

  it('ends the lease when the work fails, and charges what was asked for', async () => {
    const { gate } = await open({ resources: { model: { tokens: '1000/hour' } } })
    const failing = gate.run({ load: 100 }, () => {
      throw new Error('no answer')
    })
    expect(await errorOf(failing)).toEqual(new Error('no answer'))
    expect((await gate.snapshot())[0]).toMatchObject({ inFlight: 0, limits: [{ remaining: 900 }] })
  })

  it('leaves the end to work that has ended it itself', async () => {
    const { gate } = await open({ resources: { model: { tokens: '1000/hour' } } })
    await gate.run({ load: 100 }, (lease) => lease.settle(30))
    expect((await gate.snapshot())[0]?.limits[0]?.remaining).toBe(970)
  })

  it('without work takes no turn', async () => {
    const { gate } = await open(ONE_AT_ONCE)
    for (const args of [['model'], ['model', { load: 1 }], ['model', { load: 1 }, undefined]]) {
      const running: Promise<unknown> = Reflect.apply(gate.run, gate, args)
      expect(await errorOf(running)).toMatchObject({ errors: [{ field: 'work' }] })
    }
    expect(await gate.snapshot()).toEqual([])
  })

  it('without a name needs exactly one resource', async () => {
    const two = await open({ resources: { one: { concurrency: 1 }, two: { concurrency: 1 } } })
    expect(await errorOf(two.gate.run({}, () => 1))).toBeInstanceOf(Invalid)
    const none = await open({})
    expect(await errorOf(none.gate.run({}, () => 1))).toBeInstanceOf(Invalid)
  })
})

describe('close', () => {
  it('refuses who waits and who comes', async () => {
    const { gate, clock } = await open(ONE_AT_ONCE)
    const first = await gate.acquire('model')
    const { lease } = asking(gate)
    await settled()
    const closing = gate.close()
    for (const error of [await errorOf(lease), await errorOf(gate.acquire('model'))])
      expect(error).toMatchObject({ name: 'Refused', problem: { reason: 'shutting_down' } })
    await first.settle()
    await closing
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })

  it('waits for leases that are held, for a while; then they are lost', async () => {
    const { gate, clock } = await open(ONE_AT_ONCE)
    const lease = await gate.acquire('model')
    let isClosed = false
    const closing = gate.close({ graceMs: 3000 }).then(() => {
      isClosed = true
    })
    await settled()
    clock.advanceTo(clock.now() + 2999)
    await settled()
    expect([isClosed, lease.signal.aborted]).toEqual([false, false])
    clock.advanceTo(clock.now() + 1)
    await closing
    expect(lease.signal.reason).toBeInstanceOf(LeaseLost)
    // Whoever works on may end it all the same.
    await lease.settle()
  })

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY, '5s'])(
    'after a time that is %s is refused, and the gate goes on',
    async (graceMs) => {
      const { gate } = await open(ONE_AT_ONCE)
      await (await gate.acquire('model')).release()
      const closing: Promise<void> = Reflect.apply(gate.close, gate, [{ graceMs }])
      expect(await errorOf(closing)).toMatchObject({ errors: [{ field: 'graceMs' }] })
      await (await gate.acquire('model')).release()
    },
  )

  it('happens once, and by `await using` too', async () => {
    const { gate } = await open(ONE_AT_ONCE)
    expect(gate.close()).toBe(gate.close())
    const other = await open(ONE_AT_ONCE)
    {
      await using _closing = other.gate
    }
    expect(await errorOf(other.gate.acquire('model'))).toBeInstanceOf(Refused)
  })
})

describe('a configuration', () => {
  const errorFor = async (config: GateConfig | Record<string, unknown>): Promise<string[]> => {
    const error = await errorOf(createGate(config, { env: {} }))
    if (!(error instanceof ConfigError)) throw error
    return [...error.problems]
  }

  it('with a server’s keys is refused, each with its reason', async () => {
    const problems = await errorFor({
      listen: '127.0.0.1:4000',
      admin: { token: 'x' },
      identity: {},
      keys: [],
      leases: {},
      log: {},
      max_body_memory: '1MiB',
    })
    expect(problems).toHaveLength(7)
    expect(problems[0]).toBe(
      'config: listen: is a key of gateways, leave it out: nothing is listened to',
    )
  })

  it('with mistakes names them all', async () => {
    const problems = await errorFor({
      resources: { 'a/b': { requests: '1/min' }, b: { requests: 'many' } },
      quee: {},
    })
    expect(problems).toHaveLength(3)
    expect(problems.join('\n')).toContain('did you mean queue?')
  })

  it('may have its secrets in variables', async () => {
    const config = { providers: { anthropic: { api_key: '$' + '{KEY}' } } }
    expect(await errorFor(config)).toEqual([
      expect.stringContaining('the environment variable KEY is not set'),
    ])
  })
})
