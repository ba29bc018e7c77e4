import { describe, expect, it } from 'vitest'
import { customIdOf, type Draft, draftsOf, type PlacedPayload, USUAL_SIZE } from './draft.ts'

const payload = (index: number, content = 'hi'): PlacedPayload => ({
  id: `p${index}`,
  index,
  params: { model: 'm', max_tokens: 1, messages: [{ role: 'user', content }] },
})

async function cut(payloads: Iterable<PlacedPayload>, size = {}): Promise<Draft[]> {
  const drafts: Draft[] = []
  for await (const draft of draftsOf(payloads, { ...USUAL_SIZE, ...size })) drafts.push(draft)
  return drafts
}

const idsOf = (drafts: readonly Draft[]) => drafts.map(({ places }) => [...places.keys()])

describe('drafts', () => {
  it('are bodies as the provider wants them, without streams', async () => {
    const streaming = { ...payload(1), params: { ...payload(1).params, stream: true } }
    const [draft] = await cut([payload(0), streaming])
    expect(JSON.parse(String(draft?.body))).toEqual({
      requests: [
        { custom_id: 'p0', params: payload(0).params },
        { custom_id: 'p1', params: payload(1).params },
      ],
    })
    expect(draft?.places.get('p1')).toEqual({ id: 'p1', index: 1 })
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
    expect(drafts.map(({ places }) => places.size)).toEqual([100_000, 1])
  })

  it('are none where there is nothing', async () => {
    expect(await cut([])).toEqual([])
  })
})

describe('a name in a batch', () => {
  it('is the id where that is allowed', () => {
    expect(customIdOf('row-17_b')).toBe('row-17_b')
  })

  it.each(['a b', 'x'.repeat(65), '', 'é', customIdOf('a b')])('is another for %j', (id) => {
    expect(customIdOf(id)).toMatch(/^sha256-[a-zA-Z0-9_-]{43}$/)
    expect(customIdOf(id)).not.toBe(id)
    expect(customIdOf(id)).toBe(customIdOf(id))
  })
})
