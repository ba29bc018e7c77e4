import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { patienceOf } from './patience.ts'

const MINUTE = 60_000

/** Measured: what each client gives up after, and whether 102 restarts that. */
const CLIENTS: [string, Record<string, string>, string, number, boolean][] = [
  ['Claude Code', { 'user-agent': 'claude-cli/2.1.330 (external, cli)' }, '1.1', 6, false],
  ['Bun', { 'x-stainless-runtime': 'bun' }, '1.1', 6, false],
  ['Node', { 'x-stainless-runtime': 'node', 'x-stainless-timeout': '600' }, '1.1', 10, true],
  ['an unknown client', {}, '1.1', 10, true],
  ['HTTP/1.0', {}, '1.0', 5, false],
]

describe('patienceOf', () => {
  it.each(CLIENTS)('acts before %s gives up', (_name, headers, version, minutes, heeds102) => {
    const { commitStreamAfterMs, longestPlainWaitMs, processingEveryMs } = patienceOf(
      headers,
      version,
    )
    expect(longestPlainWaitMs).toBeLessThan(minutes * MINUTE)
    expect(longestPlainWaitMs).toBeGreaterThan((minutes / 2) * MINUTE)
    expect(commitStreamAfterMs).toBe(longestPlainWaitMs)
    expect(processingEveryMs !== null).toBe(heeds102)
  })

  it('lets Python wait for ever, as long as it is shown life', () => {
    expect(patienceOf({ 'x-stainless-lang': 'python' }, '1.1')).toEqual({
      processingEveryMs: MINUTE,
      commitStreamAfterMs: null,
      longestPlainWaitMs: Number.POSITIVE_INFINITY,
    })
  })

  it('believes a client that declares less patience', () => {
    const { longestPlainWaitMs, processingEveryMs } = patienceOf(
      { 'x-stainless-timeout': '60' },
      '1.1',
    )
    expect(longestPlainWaitMs).toBe(48_000)
    expect(processingEveryMs).toBe(20_000)
  })

  it('is never longer than what is declared or known, whatever the headers', () => {
    const timeout = fc.oneof(fc.string(), fc.nat(5000).map(String))
    fc.assert(
      fc.property(timeout, fc.constantFrom('1.0', '1.1'), (declared, version) => {
        const patience = patienceOf({ 'x-stainless-timeout': declared }, version)
        const seconds = Number(declared)
        const most = seconds > 0 ? Math.min(600_000, seconds * 1000) : 600_000
        expect(patience.longestPlainWaitMs).toBeLessThan(most)
        expect(patience.longestPlainWaitMs).toBeGreaterThan(0)
        expect(patience.processingEveryMs ?? 1).toBeGreaterThan(0)
      }),
    )
  })
})
