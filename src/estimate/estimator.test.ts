import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PromptPrefix, Usage } from '../core/prompt.ts'
import { ErrorMeter } from './error-meter.ts'
import { type EstimatedCall, Estimator } from './estimator.ts'

const FIVE_MINUTES_MS = 300_000
const BYTES_PER_TOKEN = 3.4

function call(known: Partial<EstimatedCall['prompt']>, flow = 'f'): EstimatedCall {
  const prompt = {
    textBytes: 0,
    mediaBytes: 0,
    fixedTokens: 0,
    prefixes: [],
    maxOutputTokens: null,
    unseenTokens: 0,
    hidesOutput: false,
    ...known,
  }
  return { scope: 'org/model', model: 'model', flow, prompt }
}

function usage(known: Partial<Usage>): Usage {
  return {
    inputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    cacheWriteHourTokens: 0,
    outputTokens: 100,
    ...known,
  }
}

/** A conversation whose every turn ends in a breakpoint, and the cache that answers it. */
class Conversation {
  readonly #turns: { key: string; textBytes: number; tokens: number }[] = []

  /** Adds a turn and returns the call that carries them all. */
  say(textBytes: number, name = 'turn'): EstimatedCall {
    const last = this.#turns.at(-1)
    // Texts differ: a turn has up to a tenth more or fewer tokens than the mean.
    const tokens = (textBytes / BYTES_PER_TOKEN) * (0.9 + 0.05 * (this.#turns.length % 5))
    this.#turns.push({
      key: `${name} ${this.#turns.length}`,
      textBytes: (last?.textBytes ?? 0) + textBytes,
      tokens: Math.round((last?.tokens ?? 0) + tokens),
    })
    const prefixes: PromptPrefix[] = this.#turns.map(({ key, textBytes }) => ({
      key,
      textBytes,
      cacheForMs: FIVE_MINUTES_MS,
    }))
    return call({ textBytes: prefixes.at(-1)?.textBytes ?? 0, prefixes })
  }

  /** What the provider reports for the latest turn: all before it is read, or nothing is. */
  usage(isCached: boolean): Usage {
    const total = this.#turns.at(-1)?.tokens ?? 0
    const read = isCached ? (this.#turns.at(-2)?.tokens ?? 0) : 0
    return usage({ cacheReadTokens: read, cacheWriteTokens: total - read })
  }
}

describe('Estimator', () => {
  test('estimates one request with its input and output, and no money', () => {
    const { cost, totalInputTokens, cachedTokens } = new Estimator().estimate(
      call({ textBytes: 2600, fixedTokens: 300, maxOutputTokens: 200 }),
      0,
    )
    expect(cost).toEqual({
      requests: 1,
      input_tokens: 1300,
      output_tokens: 200,
      tokens: 1500,
      cost: 0,
    })
    expect(totalInputTokens).toBe(1300)
    expect(cachedTokens).toBe(0)
  })

  test('follows a growing conversation: its uncached input within a few per cent', () => {
    const estimator = new Estimator()
    const conversation = new Conversation()
    let estimated = 0
    let actual = 0
    for (let turn = 0; turn < 60; turn++) {
      const asked = conversation.say(turn === 0 ? 60_000 : 6000)
      const expected = estimator.sent(asked, turn * 10_000)
      const reported = conversation.usage(true)
      estimator.began(asked, reported, turn * 10_000 + 1000)
      estimator.settled(asked, reported, turn * 10_000 + 5000)
      if (turn < 5) continue
      estimated += expected.cost.input_tokens - expected.marginTokens
      actual += reported.cacheWriteTokens
      const whole = reported.cacheReadTokens + reported.cacheWriteTokens
      expect(Math.abs(expected.totalInputTokens / whole - 1)).toBeLessThan(0.02)
    }
    expect(Math.abs(estimated / actual - 1)).toBeLessThan(0.04)
  })

  test('expects all of a conversation to be charged again after the cache has expired', () => {
    const estimator = new Estimator()
    const conversation = new Conversation()
    const first = conversation.say(60_000)
    estimator.settled(first, conversation.usage(false), 0)
    const late = conversation.say(600)
    const total = conversation.usage(false).cacheWriteTokens
    const { cost, cachedTokens } = estimator.estimate(late, FIVE_MINUTES_MS + 1)
    expect(cachedTokens).toBe(0)
    expect(Math.abs(cost.input_tokens / total - 1)).toBeLessThan(0.01)
  })

  test('lets siblings wait for their leader and then counts on its prefix', () => {
    const estimator = new Estimator()
    const shared = { key: 'system', textBytes: 40_000, cacheForMs: FIVE_MINUTES_MS }
    const leader = call({ textBytes: 40_400, prefixes: [shared] }, 'a')
    const sibling = call({ textBytes: 40_800, prefixes: [shared] }, 'b')
    estimator.sent(leader, 0)
    expect(estimator.pendingLeader(sibling, 1)).toBe('system')
    estimator.began(leader, usage({ inputTokens: 120, cacheWriteTokens: 12_000 }), 2)
    expect(estimator.pendingLeader(sibling, 3)).toBeNull()
    expect(estimator.estimate(sibling, 3).cachedTokens).toBe(12_000)
    expect(estimator.estimate(sibling, 3).cost.input_tokens).toBeLessThan(400)
  })

  test('counts images by rule: they do not pass for text', () => {
    const estimator = new Estimator()
    const withImage = call({ textBytes: 34_000, fixedTokens: 4000 })
    for (let answer = 0; answer < 20; answer++) {
      estimator.settled({ ...withImage }, usage({ inputTokens: 14_000 }), answer)
    }
    const { totalInputTokens } = estimator.estimate(call({ textBytes: 34_000 }), 20)
    expect(Math.abs(totalInputTokens / 10_000 - 1)).toBeLessThan(0.03)
  })

  test('learns nothing of text from a prompt that is mostly images', () => {
    const estimator = new Estimator()
    const before = estimator.estimate(call({ textBytes: 9000 }), 0)
    const images = call({ textBytes: 9000, fixedTokens: 20_000 })
    estimator.settled(images, usage({ inputTokens: 29_000 }), 0)
    expect(estimator.estimate(call({ textBytes: 9000 }), 1).cost.input_tokens).toBe(
      before.cost.input_tokens,
    )
  })

  test('never counts on more from the cache than the whole prompt has', () => {
    const estimator = new Estimator()
    const inner = { key: 'inner', textBytes: 18_000, cacheForMs: FIVE_MINUTES_MS }
    const outer = { key: 'outer', textBytes: 18_300, cacheForMs: FIVE_MINUTES_MS }
    estimator.settled(
      call({ textBytes: 18_000, prefixes: [inner] }),
      usage({ cacheWriteTokens: 6000 }),
      0,
    )
    estimator.settled(
      call({ textBytes: 18_300, prefixes: [outer] }),
      usage({ cacheWriteTokens: 5500 }),
      1,
    )
    const asked = call({ textBytes: 18_300, prefixes: [inner, { ...outer, cacheForMs: 0 }] })
    expect(estimator.estimate(asked, 2)).toMatchObject({
      totalInputTokens: 5500,
      cachedTokens: 5500,
      cost: { input_tokens: 0 },
    })
  })

  test('takes no notice of caches when it is blind', () => {
    const estimator = new Estimator({ blind: true })
    const conversation = new Conversation()
    const first = conversation.say(60_000)
    estimator.sent(first, 0)
    const second = conversation.say(600)
    expect(estimator.pendingLeader(second, 1)).toBeNull()
    estimator.settled(first, conversation.usage(true), 2)
    const { cost, totalInputTokens, cachedTokens } = estimator.estimate(second, 3)
    expect(cachedTokens).toBe(0)
    expect(cost.input_tokens).toBe(totalInputTokens)
  })

  test('shrinks what remains as a stream runs, down to the allowed maximum', () => {
    const estimator = new Estimator()
    const asked = call({ maxOutputTokens: 600 })
    for (let answer = 0; answer < 50; answer++) {
      estimator.settled({ ...asked }, usage({ inputTokens: 10, outputTokens: 590 }), answer)
    }
    expect(estimator.remaining(asked, 550)).toBeLessThanOrEqual(50)
    expect(estimator.remaining(asked, 600)).toBe(0)
    expect(estimator.remaining(asked, 700)).toBe(0)
  })

  test('learns no output from a request that allows none', () => {
    const estimator = new Estimator()
    const before = estimator.estimate(call({}), 0).cost.output_tokens
    const warmUp = call({ textBytes: 9000, maxOutputTokens: 0 })
    estimator.settled(warmUp, usage({ inputTokens: 3000, outputTokens: 0 }), 0)
    expect(estimator.estimate(call({}), 1).cost.output_tokens).toBe(before)
  })

  test('learns each answer once, however often it is reported', () => {
    const [once, twice] = [new Estimator(), new Estimator()]
    const asked = call({ textBytes: 9000 })
    for (const estimator of [once, twice]) {
      estimator.sent(asked, 0)
      estimator.began(asked, usage({ inputTokens: 2000 }), 1)
    }
    twice.began(asked, usage({ inputTokens: 2000 }), 2)
    once.settled(asked, usage({ inputTokens: 2000, outputTokens: 9000 }), 2)
    twice.settled(asked, usage({ inputTokens: 2000, outputTokens: 9000 }), 2)
    twice.settled(asked, usage({ inputTokens: 2000, outputTokens: 9000 }), 2)
    expect(twice.estimate(asked, 3)).toEqual(once.estimate(asked, 3))
  })

  test('measures its errors against what it estimated when the call was sent', () => {
    const estimator = new Estimator()
    const asked = call({ textBytes: 2600, maxOutputTokens: 100 })
    estimator.sent(asked, 0)
    estimator.settled(asked, usage({ inputTokens: 2000, outputTokens: 50 }), 1)
    const [errors] = estimator.errors()
    expect(errors).toMatchObject({
      model: 'model',
      input: { relativeError: 0.5, bias: -0.5, weight: 1 },
      uncachedInput: { relativeError: 0.5, bias: -0.5, weight: 1 },
      output: { relativeError: 1, bias: 1, weight: 1 },
    })
  })

  test('believes no report that cannot be true', () => {
    const estimator = new Estimator()
    const asked = call({ textBytes: 9000 })
    const before = estimator.estimate(asked, 0)
    for (const absurd of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e12]) {
      estimator.settled({ ...asked }, usage({ inputTokens: absurd }), 0)
      estimator.settled({ ...asked }, usage({ cacheReadTokens: absurd }), 0)
      estimator.settled({ ...asked }, usage({ outputTokens: absurd }), 0)
    }
    expect(estimator.estimate(asked, 1)).toEqual(before)
    expect(estimator.errors()).toEqual([])
  })

  test('gives a finite estimate within bounds after any history', () => {
    const amount = fc.oneof(fc.nat({ max: 200_000 }), fc.maxSafeNat())
    const prefix = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd'),
      textBytes: amount,
      cacheForMs: fc.constantFrom(0, FIVE_MINUTES_MS),
    })
    const prompt = fc.record({
      textBytes: amount,
      fixedTokens: amount,
      prefixes: fc.array(prefix, { maxLength: 4 }),
      maxOutputTokens: fc.option(amount),
    })
    const report = fc.record({
      inputTokens: fc.oneof(amount, fc.double()),
      cacheReadTokens: amount,
      cacheWriteTokens: amount,
      cacheWriteHourTokens: amount,
      outputTokens: fc.oneof(amount, fc.double()),
    })
    const steps = fc.array(
      fc.record({ prompt, report, ends: fc.constantFrom('began', 'settled', 'failed') }),
      { maxLength: 30 },
    )
    fc.assert(
      fc.property(steps, (history) => {
        const estimator = new Estimator()
        for (const [now, { prompt, report, ends }] of history.entries()) {
          const asked = call(prompt)
          expectSane(asked, estimator.sent(asked, now))
          if (ends === 'failed') estimator.failed(asked)
          else estimator[ends === 'began' ? 'began' : 'settled'](asked, report, now)
          expectSane(asked, estimator.estimate(asked, now))
        }
      }),
    )
  })
})

function expectSane(asked: EstimatedCall, estimate: ReturnType<Estimator['estimate']>): void {
  const { cost, totalInputTokens, cachedTokens, marginTokens } = estimate
  for (const amount of [...Object.values(cost), totalInputTokens, cachedTokens, marginTokens]) {
    expect(Number.isFinite(amount)).toBe(true)
    expect(amount).toBeGreaterThanOrEqual(0)
  }
  expect(cost.input_tokens).toBe(totalInputTokens - cachedTokens + marginTokens)
  expect(marginTokens).toBeLessThanOrEqual(Math.ceil(totalInputTokens / 2))
  expect(cost.output_tokens).toBeLessThanOrEqual(asked.prompt.maxOutputTokens ?? 1e8)
}

describe('the margin', () => {
  test('follows the error of the guesses, and is nothing where they are right', () => {
    const [right, wrong] = [new Estimator(), new Estimator()]
    for (let turn = 0; turn < 100; turn++) {
      right.settled(call({ textBytes: 3000 }), usage({ inputTokens: 1000 }), turn)
      const inputTokens = turn % 2 === 0 ? 900 : 1100
      wrong.settled(call({ textBytes: 3000 }), usage({ inputTokens }), turn)
    }
    expect(right.estimate(call({ textBytes: 3000 }), 200).marginTokens).toBeLessThan(10)
    const { marginTokens } = wrong.estimate(call({ textBytes: 3000 }), 200)
    expect(marginTokens).toBeGreaterThan(200)
    expect(marginTokens).toBeLessThan(300)
  })
})

describe('ErrorMeter', () => {
  test('tells a bias from an error that evens out', () => {
    const [biased, even] = [new ErrorMeter(), new ErrorMeter()]
    for (let estimate = 0; estimate < 200; estimate++) {
      biased.record(110, 100)
      even.record(estimate % 2 === 0 ? 110 : 90, 100)
    }
    expect(biased.read().bias).toBeCloseTo(0.1)
    expect(even.read().relativeError).toBeCloseTo(0.1)
    expect(Math.abs(even.read().bias)).toBeLessThan(0.01)
  })

  test('is finite where nothing was produced', () => {
    const meter = new ErrorMeter()
    meter.record(5, 0)
    expect(meter.read()).toEqual({ relativeError: 5, bias: 5, weight: 1 })
  })
})
