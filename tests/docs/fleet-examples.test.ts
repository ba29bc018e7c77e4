// Runs examples/fleet, each in front of an emulator of its own.
import { describe, expect, it } from 'vitest'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.ts'
import { outputOfNode } from './run-example.ts'

interface Ran {
  readonly lines: readonly string[]
  readonly emulator: Emulator
}

async function run(name: string, settings: EmulatorOptions): Promise<Ran> {
  const emulator = await startEmulator({ clock: realClock(), random: seededRandom(5), settings })
  try {
    const output = await outputOfNode(emulator.url, `examples/fleet/${name}.mjs`)
    return { lines: output.trimEnd().split('\n'), emulator }
  } finally {
    await emulator.close()
  }
}

const WIDE = { requests: 10_000, inputTokens: 10_000_000, outputTokens: 10_000_000 }

describe('examples/fleet', () => {
  it('1: has no more under way than it may', async () => {
    const { lines, emulator } = await run('1-concurrency-cap', { limits: WIDE, ttftMs: 50 })
    expect(lines).toEqual(['40 answered'])
    expect(emulator.report().maxInFlight).toBe(8)
  })

  it('2: leaves what the floors keep for others', async () => {
    const { lines } = await run('2-floors', { ttftMs: 50, timeScale: 20 })
    const [, answered, least] = /^(\d+) answered, at least (\d+) /.exec(lines[0] ?? '') ?? []
    expect(answered).toBe('20')
    expect(Number(least)).toBeGreaterThan(2000)
    // It did come to the soft floor.
    expect(Number(least)).toBeLessThan(21_000)
  })

  it('3: gives results as they are ready, with what they have cost', async () => {
    const { lines } = await run('3-completion-order', {
      limits: WIDE,
      ttftMs: 20,
      tokensPerSecond: 500,
    })
    expect(lines.map((line) => line.replace(/: \d+ ms, 0\.\d+ USD$/, ''))).toEqual([
      '20-tokens',
      '200-tokens',
      '400-tokens',
    ])
  })

  it('4: tells how many are under way, and why', async () => {
    const { lines } = await run('4-automatic-in-flight', { ttftMs: 300, tokensPerSecond: 200 })
    expect(lines[0]).toBe('8 at once: nothing is measured yet')
    expect(lines.slice(1, -1).join('\n')).toMatch(
      /^\d+ at once: rate \d+\.\d+\/s × latency 0\.\d+ s = \d+\.\d+; \d+ more in line$/m,
    )
    expect(lines.at(-1)).toBe('45 answered')
  })

  it('5: tries again within its budget, and ends with a reason', async () => {
    const { lines } = await run('5-shared-retries', { limits: WIDE, ttftMs: 20 })
    const attempts = lines.filter((line) => line.startsWith('broken: bad_answer, at most 0.00'))
    expect(attempts.map((line) => line.split(', ').at(-1))).toEqual([
      'sent again',
      'sent again',
      'given up',
    ])
    expect(lines.at(-1)).toBe('broken: failed after 3 attempts, bad_answer')
    expect(lines.filter((line) => line.endsWith(': answered'))).toHaveLength(2)
  })

  it('6: ends when what is left cannot bear another prompt', async () => {
    const { lines, emulator } = await run('6-spending-cap', {
      limits: WIDE,
      ttftMs: 5,
      tokensPerSecond: 100_000,
    })
    const [, answered, spent] =
      /^(\d+) answered for (0\.\d+) of 0\.01 USD$/.exec(lines[0] ?? '') ?? []
    const { totals } = emulator.report()
    expect(Number(answered)).toBe(totals.admitted)
    expect(Number(spent)).toBeLessThanOrEqual(0.01)
    expect(Number(spent)).toBeCloseTo((totals.inputTokens + totals.outputTokens * 5) / 1e6, 9)
  })

  it('7: takes the prompts of a file, in each form that a line may have', async () => {
    const { lines, emulator } = await run('7-prompts-of-a-file', { limits: WIDE, ttftMs: 5 })
    expect(lines).toEqual(['river: answered', 'city: answered', '3: answered'])
    expect(emulator.report().totals.admitted).toBe(3)
  })
})
