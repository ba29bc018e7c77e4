// Requests wait their turn instead of failing. Gateway and emulator share a clock that runs faster,
// so that a minute of the provider's limits passes in a second or two.
import { BadRequestError } from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { DOORS, type Door } from '../doors.ts'
import { ask, failureOf, KEY, until } from '../harness.ts'
import { perMinute } from '../limits.ts'

const words = (count: number): string => 'word '.repeat(count)

/** The names of those who were answered, in order. */
const flowsOf = (gate: Door): string[] => gate.of('settled').map(({ facts }) => facts.flow)

describe.each(DOORS)('through the %s', (_, openDoor) => {
  describe('eleven agents on one small quota', () => {
    it('all get every answer, and none sees a refusal', async () => {
      await using gate = await openDoor({
        speed: 60,
        emulator: { limits: { requests: 30, inputTokens: 12_000, outputTokens: 20_000 } },
      })
      const turns = 5
      const agent = async (name: string): Promise<void> => {
        const client = gate.client({ defaultHeaders: { 'x-claude-code-session-id': name } })
        for (let turn = 0; turn < turns; turn++) {
          const request = ask(words(1000), { output: 200 })
          const message =
            turn % 2 === 0
              ? await client.messages.create(request)
              : await client.messages.stream(request).finalMessage()
          expect(message.usage.output_tokens).toBe(200)
        }
      }
      await Promise.all(Array.from({ length: 11 }, (_, index) => agent(`agent-${index}`)))
      await gate.idle()
      const { totals } = gate.emulator.report()
      expect(totals.admitted).toBe(11 * turns)
      expect(gate.of('refused')).toEqual([])
      expect(gate.of('settled').every(({ outcome }) => outcome === 'answered')).toBe(true)
      // Four minutes' worth at once: most waited, and the provider hardly had to say so.
      expect(Math.max(...gate.of('settled').map(({ facts }) => facts.queuedMs))).toBeGreaterThan(
        10_000,
      )
      expect(totals.requests - totals.admitted).toBeLessThanOrEqual(3)
    })
  })

  describe('a request larger than the whole bucket', () => {
    it('passes when the bucket is full, before and after the limits are known', async () => {
      await using gate = await openDoor({
        speed: 60,
        emulator: { limits: { requests: 50, inputTokens: 10_000, outputTokens: 8000 } },
      })
      const client = gate.client()
      await client.messages.create(ask(words(12_000), { output: 20 }))
      await client.messages.create(ask(words(12_000), { output: 20 }))
      await gate.idle()
      expect(gate.of('settled').map(({ actual }) => actual.input_tokens > 10_000)).toEqual([
        true,
        true,
      ])
      expect(gate.of('settled')[1]?.facts.queuedMs).toBeGreaterThan(30_000)
    })
  })

  describe('a body that is not JSON', () => {
    it('gets the provider’s own words, unchanged', async () => {
      await using gate = await openDoor({ emulator: { timeScale: 100 } })
      const wrong = { method: 'POST', headers: { 'x-api-key': KEY }, body: '{"a"' }
      const through = await gate.fetch(`${gate.url}/v1/messages`, wrong)
      const direct = await fetch(`${gate.emulator.url}/v1/messages`, wrong)
      expect(through.status).toBe(400)
      const withoutId = (text: string): string => text.replace(/req_\w+/, 'req_')
      expect(withoutId(await through.text())).toBe(withoutId(await direct.text()))
      const invalid = gate.client().messages.create({ ...ask('x'), max_tokens: -1 })
      expect(await failureOf(invalid)).toBeInstanceOf(BadRequestError)
      await gate.idle()
    })
  })

  describe('fairness', () => {
    it('gives an agent with forty sockets no more than one of ten with one', async () => {
      await using gate = await openDoor({
        speed: 60,
        emulator: { limits: { requests: 60, inputTokens: 1_000_000, outputTokens: 100_000 } },
        anthropic: perMinute(20),
      })
      const session = (name: string) =>
        gate.client({ defaultHeaders: { 'x-claude-code-session-id': name } })
      const request = ask('Hello.', { output: 20 })
      const greedy = session('greedy')
      const stop = new AbortController()
      const forty = Array.from({ length: 40 }, () =>
        greedy.messages.create(request, { signal: stop.signal }),
      )
      const fortyEnded = Promise.allSettled(forty)
      await until(async () => (await gate.status()).queued >= 30)
      const before = flowsOf(gate).length
      const polite = Array.from({ length: 10 }, (_, index) => session(`polite-${index}`))
      await Promise.all(
        polite.map(async (client) => {
          await client.messages.create(request)
          await client.messages.create(request)
        }),
      )
      const whileBusy = flowsOf(gate).slice(before)
      // As many as each of the others, and those that passed before the others' first had come.
      expect(whileBusy.filter((flow) => flow === 'greedy').length).toBeLessThanOrEqual(4)
      expect(whileBusy.length).toBeGreaterThanOrEqual(20)
      stop.abort()
      await fortyEnded
      await gate.idle()
    })
  })

  describe('two keys of one organization', () => {
    const organizations = { 'sk-one': 'acme', 'sk-two': 'acme', 'sk-three': 'other' }
    const limits = { requests: 50, inputTokens: 30_000, outputTokens: 8000 }

    it('share one resource from the first answers on', async () => {
      await using gate = await openDoor({ speed: 30, emulator: { organizations, limits } })
      const keys = ['sk-one', 'sk-two', 'sk-three']
      for (const apiKey of [...keys, ...keys])
        await gate.client({ apiKey }).messages.create(ask('Hello.', { output: 5 }))
      await gate.idle()
      const resources = gate.of('settled').map(({ facts }) => facts.resource)
      const [one, two, three, ...later] = resources
      expect(new Set([one, two, three]).size).toBe(3)
      expect(later).toEqual([one, one, three])
    })

    it('share it with those who stood in line under the second key before that was known', async () => {
      await using gate = await openDoor({
        speed: 30,
        emulator: { organizations, limits: { ...limits, inputTokens: 20_000 } },
      })
      await gate.client({ apiKey: 'sk-one' }).messages.create(ask('Hello.', { output: 5 }))
      const request = ask(words(2000), { output: 20 })
      const many = (apiKey: string) =>
        Array.from({ length: 12 }, () => gate.client({ apiKey }).messages.create(request))
      const messages = await Promise.all([...many('sk-one'), ...many('sk-two')])
      expect(messages).toHaveLength(24)
      await gate.idle()
      const [first, ...settled] = gate.of('settled')
      const apart = settled.filter(({ facts }) => facts.resource !== first?.facts.resource)
      // Only those who were under way when the first answer came; the line that they left is gone.
      expect(apart.length).toBeLessThan(12)
      expect(apart.every(({ facts }) => facts.attempts === 1)).toBe(true)
      const { totals } = gate.emulator.report()
      expect(totals.requests - totals.admitted).toBeLessThan(12)
      // Nobody else uses the quota: the other key's requests are not taken for a stranger's.
      const { resources: known } = await gate.status()
      const seen = known.flatMap((resource) => resource.limits)
      expect(Math.max(...seen.map((limit) => limit.othersPerMinute ?? 0))).toBeLessThan(4000)
    })
  })
})
