import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../core/random.ts'
import { bodyOf } from '../message-request.ts'
import {
  type Draft,
  type DraftSource,
  draftsOf,
  type PlacedPayload,
  SEND_NOW,
  USUAL_SIZE,
} from './draft.ts'
import { Unanswered } from './unanswered.ts'

const params = (content = 'hi') => ({
  model: 'm',
  max_tokens: 1,
  messages: [{ role: 'user', content }],
})

const payload = (index: number, content = 'hi'): PlacedPayload => ({
  id: `p${index}`,
  index,
  body: bodyOf(params(content)),
})

const filled = (payloads: DraftSource, size = {}) =>
  draftsOf(payloads, { size: { ...USUAL_SIZE, ...size }, random: seededRandom(1) })

async function cut(payloads: Iterable<PlacedPayload>, size = {}): Promise<Draft[]> {
  const drafts: Draft[] = []
  for await (const draft of filled(payloads, size)) drafts.push(draft)
  return drafts
}

const idsOf = (drafts: readonly Draft[]) =>
  drafts.map(({ payloads }) => payloads.map(({ id }) => id))

describe('drafts', () => {
  it('are bodies as the provider wants them, without streams', async () => {
    const streaming = { ...payload(1), body: bodyOf({ ...params(), stream: true }) }
    const [draft] = await cut([payload(0), streaming])
    expect(JSON.parse(String(draft?.body))).toEqual({
      requests: [
        { custom_id: `${draft?.name}-0`, params: params() },
        { custom_id: `${draft?.name}-1`, params: params() },
      ],
    })
    expect(draft?.payloads[1]).toEqual({ id: 'p1', index: 1 })
  })

  it('keep all that is known of a place, and not its body', async () => {
    const place = { id: 'p0', index: 0, worstNanoUsd: 7, pricePercent: 110 }
    const [draft] = await cut([{ ...payload(0), ...place }])
    expect(draft?.payloads).toEqual([place])
  })

  it('have no more requests than is said', async () => {
    const drafts = await cut(
      [0, 1, 2, 3, 4].map((index) => payload(index)),
      { requests: 2 },
    )
    expect(idsOf(drafts)).toEqual([['p0', 'p1'], ['p2', 'p3'], ['p4']])
  })

  it('have no more bytes than is said, unless a single payload has', async () => {
    const long = payload(2, 'x'.repeat(2000))
    const drafts = await cut([payload(0), payload(1), long, payload(3)], { bytes: 400 })
    expect(idsOf(drafts)).toEqual([['p0', 'p1'], ['p2'], ['p3']])
    const lengths = drafts.map(({ body }) => body.length)
    expect([lengths[0], lengths[2]].every((length) => (length ?? 0) <= 400)).toBe(true)
  })

  it('never have more than the provider allows', async () => {
    const many = Array.from({ length: 100_001 }, (_, index) => payload(index))
    const drafts = await cut(many, { requests: 1e9, bytes: 1e12 })
    expect(drafts.map(({ payloads }) => payloads.length)).toEqual([100_000, 1])
  })

  it('are none where there is nothing', async () => {
    expect(await cut([])).toEqual([])
  })

  it('keep nothing beside the body when they are full', async () => {
    setFlagsFromString('--expose-gc')
    const collect: unknown = runInNewContext('gc')
    if (typeof collect !== 'function') throw new Error('garbage cannot be collected')
    const long = 'x'.repeat(1_000_000)
    function* source() {
      for (let index = 0; index < 30; index++) yield payload(index, long)
      yield SEND_NOW
    }
    // Twice: what is freed in the background counts up to the second time.
    const held = (): number => {
      collect()
      collect()
      return process.memoryUsage().arrayBuffers
    }
    const before = held()
    const drafts = filled(source())
    const { value } = await drafts.next()
    const kept = held() - before
    expect(value?.body.length).toBeGreaterThan(30_000_000)
    expect(kept).toBeLessThan(40_000_000)
    await drafts.return()
  })
})

describe('names in a batch', () => {
  it('are allowed, and say which batch it is', async () => {
    const drafts = await cut([payload(0), payload(1)], { requests: 1 })
    const requests = drafts.map(
      ({ body }) => String(body).match(/"custom_id":"([^"]*)"/)?.[1] ?? '',
    )
    for (const name of requests) expect(name).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
    const owners = drafts.map(({ name, payloads }) =>
      requests.map((request) => new Unanswered(name, payloads).isOfBatch(request)),
    )
    expect(owners).toEqual([
      [true, false],
      [false, true],
    ])
  })

  it('are two where ids are one', async () => {
    const twins = [0, 1].map((index) => ({ ...payload(index), id: 'twin' }))
    const [draft] = await cut(twins)
    expect(String(draft?.body).match(/"custom_id":"[^"]*"/g)).toEqual([
      `"custom_id":"${draft?.name}-0"`,
      `"custom_id":"${draft?.name}-1"`,
    ])
  })
})
