import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatUsd } from './money.ts'

test.each([
  [0, '0'],
  [1, '0.000000001'],
  [12_500_000_000, '12.5'],
  [-1_000_000_000, '-1'],
  [-1, '-0.000000001'],
  [9_000_000_000_000_000, '9000000'],
])('%d nano-dollars are %s dollars', (nanoUsd, text) => {
  expect(formatUsd(nanoUsd)).toBe(text)
})

test('no nano-dollar is lost or added', () => {
  fc.assert(
    fc.property(fc.integer({ min: -9e15, max: 9e15 }), (nanoUsd) => {
      const [, sign, whole = '', fraction = ''] =
        /^(-?)(\d+)(?:\.(\d+))?$/.exec(formatUsd(nanoUsd)) ?? []
      expect(BigInt(`${sign}${whole}${fraction.padEnd(9, '0')}`)).toBe(BigInt(nanoUsd))
    }),
  )
})
