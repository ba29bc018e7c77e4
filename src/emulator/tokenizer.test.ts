import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { outputText } from './output.ts'
import { countTokens } from './tokenizer.ts'

describe('countTokens', () => {
  it.each([
    ['', 0],
    ['word', 1],
    ['Word', 1],
    ['a few words', 4],
    ['tokenization', 3],
    ['parseJson', 3],
    ['HTTP', 1],
    ['1234567', 3],
    ['a, b.', 4],
    ['排队等候', 4],
    ['привет', 2],
    ['{\n        "a": 1\n}', 10],
  ])('counts %j as %i', (text, tokens) => {
    expect(countTokens(text)).toBe(tokens)
  })

  it('counts an emulated answer as exactly the tokens that it has', () => {
    fc.assert(
      fc.property(fc.nat(2000), fc.nat(2000), (first, second) => {
        const text = outputText(0, first) + outputText(first, first + second)
        expect(countTokens(text)).toBe(first + second)
      }),
    )
  })

  it('grows with the text and never passes one token a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (head, tail) => {
        const whole = countTokens(`${head}\n\n\n${tail}`)
        expect(whole).toBeGreaterThanOrEqual(countTokens(head))
        expect(whole).toBeLessThanOrEqual(head.length + tail.length + 3)
      }),
    )
  })

  it('costs prose and base64 about what real tokenizers charge', () => {
    const prose = 'Requests wait their turn instead of failing, and nobody is left out. '.repeat(50)
    const perToken = prose.length / countTokens(prose)
    expect(perToken).toBeGreaterThan(2.5)
    expect(perToken).toBeLessThan(4.5)
    const base64 = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919) % 251)).toString(
      'base64',
    )
    expect(base64.length / countTokens(base64)).toBeLessThan(2.2)
  })
})
