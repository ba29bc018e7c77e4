// What a job may spend, whatever becomes of its payloads: against the bill of a provider that bills all it has
// worked for, answered or not.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MessageParams } from '../../src/fleet/payload.ts'
import { answer, MODEL, payloads, type Reply, VirtualJob } from './virtual-job.ts'

const NANO = 1e9

interface Plan {
  readonly bytes: number
  readonly maxTokens: number
  /** Of what it could at most, in parts of one. */
  readonly input: number
  readonly output: number
  readonly ends: 'answer' | 'error' | 'timeout' | 'broken'
  /** So often, before it is answered. */
  readonly fails: number
  readonly afterMs: number
}

const plans = fc.array(
  fc.record({
    bytes: fc.integer({ min: 1, max: 4000 }),
    maxTokens: fc.integer({ min: 1, max: 2000 }),
    input: fc.double({ min: 0, max: 1, noNaN: true }),
    output: fc.double({ min: 0, max: 1, noNaN: true }),
    ends: fc.constantFrom('answer', 'answer', 'error', 'timeout', 'broken', 'broken'),
    fails: fc.integer({ min: 1, max: 3 }),
    afterMs: fc.integer({ min: 1, max: 5000 }),
  }),
  { minLength: 1, maxLength: 40 },
)

const paramsOf = ({ bytes, maxTokens }: Plan): MessageParams => ({
  model: MODEL,
  max_tokens: maxTokens,
  messages: [{ role: 'user', content: 'x'.repeat(bytes) }],
})

function replyOf(plan: Plan, nth: number): Reply {
  const { input, output, ends, fails, afterMs, bytes, maxTokens } = plan
  const used = { input: Math.round(bytes * input), output: Math.round(maxTokens * output) }
  if (ends === 'answer' || nth >= fails) return answer(afterMs, used.input, used.output)
  if (ends === 'error')
    return { kind: 'error', afterMs, status: 400, type: 'invalid_request_error' }
  return { kind: 'failure', afterMs, failure: ends, billed: used }
}

describe('maxSpendUsd', () => {
  it('is never passed by what the provider bills, and no payload is without a result before the end', async () => {
    const cents = fc.integer({ min: 1, max: 60 })
    const order = fc.constantFrom('completion', 'submission')
    await fc.assert(
      fc.asyncProperty(
        plans,
        cents,
        order,
        fc.integer({ min: 1, max: 12 }),
        async (all, cap, inOrder, slots) => {
          const seen = new Map<string, number>()
          const byText = new Map(all.map((plan) => [JSON.stringify(paramsOf(plan).messages), plan]))
          const job = new VirtualJob({
            script: ({ messages }) => {
              const key = JSON.stringify(messages)
              const plan = byText.get(key)
              if (!plan) throw new Error('a request of nobody')
              const nth = seen.get(key) ?? 0
              seen.set(key, nth + 1)
              return replyOf(plan, nth)
            },
            maxSpendUsd: cap / 1000,
            run: { maxInFlight: slots, order: inOrder },
          })
          const results = await job.resultsOf([...byText.values()].map(paramsOf))
          expect(job.billed).toBeLessThanOrEqual((cap / 1000) * NANO)
          const last = results.at(-1)
          const count = last?.kind === 'budget_exceeded' ? results.length - 1 : results.length
          // What was sent has its result; without a marker that is all.
          expect(count).toBeGreaterThanOrEqual(seen.size)
          if (last?.kind === 'budget_exceeded') {
            expect(last.spentNanoUsd).toBeGreaterThanOrEqual(job.billed)
            expect(last.spentNanoUsd).toBeLessThanOrEqual((cap / 1000) * NANO)
          } else expect(count).toBe(byText.size)
          expect(job.dispatcher.size).toBe(0)
        },
      ),
      { numRuns: 150 },
    )
  }, 60_000)

  it('is used as far as it goes: what turned out cheap makes room for more', async () => {
    // Each may cost 1.8 thousandths of a dollar, and costs a fifth of that.
    const job = new VirtualJob({
      script: () => answer(1000),
      maxSpendUsd: 0.01,
      run: { maxInFlight: 20 },
    })
    const results = await job.resultsOf(payloads(1000))
    const answered = results.filter(({ kind }) => kind === 'answered')
    expect(job.billed / NANO).toBeGreaterThan(0.01 - 0.0019)
    expect(answered.length).toBe(job.billed / 330_000)
    expect(results.at(-1)).toEqual({
      kind: 'budget_exceeded',
      spentNanoUsd: job.billed,
      maxSpendUsd: 0.01,
    })
    expect(job.eventsOf('held').some(({ by }) => by === 'money')).toBe(true)
  })

  it('sends nothing whose price is not known, and says so', async () => {
    const job = new VirtualJob({ script: () => answer(10), maxSpendUsd: 1 })
    const results = await job.resultsOf([
      ...payloads(1, { model: 'nobody-sells-this' }),
      ...payloads(1),
    ])
    expect(results.map(({ kind }) => kind)).toEqual(['failed', 'answered'])
    expect(results[0]).toMatchObject({
      attempts: 0,
      error: { type: 'price_unknown', message: expect.stringContaining('nobody-sells-this') },
    })
  })

  it('sends nothing whose cost has no bound, and says so; without a sum it goes', async () => {
    const searching = payloads(1, { tools: [{ type: 'web_search_20250305', name: 'web_search' }] })
    const bounded = new VirtualJob({ script: () => answer(10), maxSpendUsd: 1 })
    expect(await bounded.resultsOf(searching)).toMatchObject([
      {
        kind: 'failed',
        attempts: 0,
        costNanoUsd: 0,
        error: { type: 'cost_unbounded', message: expect.stringContaining('maxSpendUsd') },
      },
    ])
    expect(bounded.sentAt).toEqual([])
    const free = new VirtualJob({ script: () => answer(10) })
    expect(await free.resultsOf(searching)).toMatchObject([{ kind: 'answered' }])
  })

  it('leaves the cost open where the price is not known and nothing bounds it', async () => {
    const job = new VirtualJob({ script: () => answer(10) })
    const [result] = await job.resultsOf(payloads(1, { model: 'nobody-sells-this' }))
    expect(result).toMatchObject({ kind: 'answered', costNanoUsd: null, costUsd: null })
  })

  it('counts what broke off as if it had cost all that it could, each time that it is sent again', async () => {
    const job = new VirtualJob({
      script: (_, nth) =>
        nth < 2
          ? { kind: 'failure', failure: 'broken', afterMs: 100, billed: { input: 9, output: 100 } }
          : answer(100),
      maxSpendUsd: 1,
    })
    const [result] = await job.resultsOf(payloads(1))
    if (result?.kind !== 'answered') throw new Error('it is answered at last')
    expect(result.attempts).toBe(3)
    expect(result.costNanoUsd).toBeGreaterThanOrEqual(job.billed)
    expect(job.eventsOf('attempt_failed').map(({ error }) => error.type)).toEqual([
      'upstream_broken',
      'upstream_broken',
    ])
  })
})
