import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readWishes } from './caller-wishes.ts'

const NONE = {
  kind: 'read',
  flow: null,
  lane: null,
  maxWaitMs: Number.POSITIVE_INFINITY,
  deadlineAt: Number.POSITIVE_INFINITY,
}

describe('readWishes', () => {
  it('finds none in headers that are not Headgate’s', () => {
    expect(readWishes({ 'x-headgate-key': 'k', lane: 'high' }, true)).toEqual(NONE)
  })

  it('reads each wish', () => {
    const wishes = readWishes(
      {
        'x-headgate-flow': 'agent-1',
        'x-headgate-lane': 'critical',
        'x-headgate-max-wait': '1m30s',
        'x-headgate-deadline': '2026-11-22T10:15:00Z',
      },
      true,
    )
    expect(wishes).toEqual({
      kind: 'read',
      flow: 'agent-1',
      lane: 'critical',
      maxWaitMs: 90_000,
      deadlineAt: Date.UTC(2026, 10, 22, 10, 15),
    })
  })

  it('takes an empty name for none, and leaves who is calling to others', () => {
    expect(readWishes({ 'x-headgate-flow': '' }, true)).toEqual(NONE)
    expect(readWishes({ 'x-headgate-user': 'alice' }, true)).toEqual(NONE)
  })

  it('bounds what is kept of a name', () => {
    expect(readWishes({ 'x-headgate-flow': 'x'.repeat(5000) }, true)).toMatchObject({
      flow: 'x'.repeat(200),
    })
  })

  it.each([
    ['x-headgate-lane', 'urgent', 'use one of critical, high, normal, low'],
    ['x-headgate-lane', '', 'use one of'],
    ['x-headgate-max-wait', '10', 'is not a duration'],
    ['x-headgate-max-wait', '-5s', 'is not a duration'],
    ['x-headgate-deadline', 'soon', 'is no time'],
  ])('names a bad %s: %j', (header, value, why) => {
    const wishes = readWishes({ [header]: value }, true)
    if (wishes.kind !== 'bad') throw new Error('expected a bad header')
    expect(wishes.message).toMatch(new RegExp(`^Header ${header}: '${value}' `))
    expect(wishes.message).toContain(why)
  })

  it('either reads or names the header, whatever its value', () => {
    const names = ['x-headgate-lane', 'x-headgate-max-wait', 'x-headgate-deadline']
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.string({ maxLength: 300 }), (name, value) => {
        const wishes = readWishes({ [name]: value }, true)
        if (wishes.kind === 'bad') {
          expect(wishes.message).toContain(name)
          expect(wishes.message.length).toBeLessThan(250)
        } else {
          expect(wishes.maxWaitMs).toBeGreaterThanOrEqual(0)
          expect(wishes.deadlineAt).not.toBeNaN()
        }
      }),
    )
  })
})
