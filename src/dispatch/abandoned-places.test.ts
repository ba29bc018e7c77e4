import { describe, expect, it } from 'vitest'
import type { Place } from '../core/ticket.ts'
import { AbandonedPlaces, type Identity } from './abandoned-places.ts'

const place: Place = { enqueuedAt: 1, lane: 'normal', laneSince: 1, startTag: 0.5 }

const identity = (body: string, flow = 'agent'): Identity => ({
  flow,
  resource: 'anthropic/f/claude-sonnet-5',
  body: Buffer.from(body),
})

describe('AbandonedPlaces', () => {
  it('gives a place back once, to the same flow with the same body', () => {
    const places = new AbandonedPlaces()
    places.keep(identity('body'), place, 0)
    expect(places.reclaim(identity('ydob'), 1)).toBeNull()
    expect(places.reclaim(identity('body', 'other'), 1)).toBeNull()
    expect(places.reclaim(identity('body'), 1)).toBe(place)
    expect(places.reclaim(identity('body'), 1)).toBeNull()
  })

  it('forgets a place after two minutes', () => {
    const places = new AbandonedPlaces()
    places.keep(identity('body'), place, 0)
    expect(places.reclaim(identity('body'), 120_001)).toBeNull()
    places.keep(identity('body'), place, 0)
    expect(places.reclaim(identity('body'), 120_000)).toBe(place)
  })

  it('keeps a bounded number, the latest ones', () => {
    const places = new AbandonedPlaces()
    const body = (index: number) => identity('x'.repeat(index % 100), `agent-${index}`)
    for (let index = 0; index < 10_500; index++) places.keep(body(index), place, 0)
    expect(places.reclaim(body(400), 1)).toBeNull()
    expect(places.reclaim(body(600), 1)).toBe(place)
    expect(places.reclaim(body(10_499), 1)).toBe(place)
  })
})
