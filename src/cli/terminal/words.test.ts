import { styleText } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bar, clip, joinFitting, plain, spanInWords, stopwatch, widthOf } from './words.ts'

const red = (text: string): string => styleText('red', text, { validateStream: false })

describe('times', () => {
  it.each([
    [-5, '0.0 s'],
    [420, '0.4 s'],
    [9940, '9.9 s'],
    [9950, '10 s'],
    [59_499, '59 s'],
    [59_700, '1 min'],
    [125_000, '2 min 5 s'],
    [3_599_700, '1 h'],
    [12_000_000, '3 h 20 min'],
  ])('%d ms are %s', (ms, text) => {
    expect(spanInWords(ms)).toBe(text)
  })

  it('counts minutes and seconds as a stopwatch does', () => {
    expect([0, 9999, 60_000, 754_000].map(stopwatch)).toEqual(['0:00', '0:09', '1:00', '12:34'])
  })
})

describe('a bar', () => {
  it('is full, part full and empty, whatever lies outside', () => {
    expect([2, 1, 0.5, 0, -3].map((share) => bar(share, 4))).toEqual([
      '████',
      '████',
      '██░░',
      '░░░░',
      '░░░░',
    ])
  })
})

describe('lines', () => {
  it('are cut to their cells, and end their colours', () => {
    expect(clip(`ab${red('cdef')}gh`, 5)).toBe(`ab${red('cd…')}`)
    expect(clip(red('abc'), 3)).toBe(red('abc'))
  })

  it('never take more cells than there are', () => {
    const word = fc.oneof(fc.string(), fc.string().map(plain).map(red))
    fc.assert(
      fc.property(fc.array(word), fc.integer({ min: 1, max: 60 }), (words, columns) => {
        expect(widthOf(clip(words.map(plain).join(''), columns))).toBeLessThanOrEqual(columns)
      }),
    )
  })

  it('keep the parts that fit, and at least the first', () => {
    expect(joinFitting(['one', 'two', 'three'], '  ', 10)).toBe('one  two')
    expect(joinFitting(['one', 'two'], '  ', 2)).toBe('one')
  })
})

it('takes from a name what could steer a terminal', () => {
  expect(plain('a\u001b[2Jb\u001b]0;title\u0007c\r\nd\u202ee')).toBe('abcde')
})
