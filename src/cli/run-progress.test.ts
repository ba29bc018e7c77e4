import { expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { dollars, type JobFacts, Progress } from './run-progress.ts'

/** Lets everything happen that needs no time to pass. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const START = Date.UTC(2026, 10, 22)

function open(form: 'terminal' | 'text' | 'json', columns = 200) {
  const clock = new VirtualClock(START)
  const facts: { -readonly [Name in keyof JobFacts]: JobFacts[Name] } = {
    total: 18_000,
    answered: 0,
    failed: 0,
    underWay: 24,
    inputTokens: 0,
    outputTokens: 0,
    spentNanoUsd: 0,
    waitsFor: null,
  }
  let written = ''
  const output = {
    columns,
    write: (text: string) => {
      written += text
    },
  }
  const progress = new Progress({ clock, output, form, facts: async () => facts })
  const failures: unknown[] = []
  const pass = async (ms: number): Promise<string> => {
    written = ''
    clock.advanceTo(clock.now() + ms)
    await settled()
    return written
  }
  progress.start((error) => failures.push(error))
  return { progress, facts, pass, written: () => written, failures }
}

it('writes a line every ten seconds: how far, how fast, for how much, and until when', async () => {
  const { facts, pass } = open('text')
  await settled()
  Object.assign(facts, {
    answered: 118,
    failed: 2,
    inputTokens: 50_000,
    outputTokens: 1234,
    spentNanoUsd: 1_250_000_000,
    waitsFor: { what: '30000 input_tokens per 60 s', until: START + 13_000 },
  })
  expect(await pass(10_000)).toBe(
    '120 of 18,000   24 min 50 s left   $1.25   2 failed   12.0/s   24 under way   ' +
      'waits for 30000 input_tokens per 60 s, next in 3.0 s   51,234 tokens\n',
  )
})

it('goes by the last minute', async () => {
  const { facts, pass } = open('text')
  await settled()
  for (let at = 0; at < 30; at++) {
    facts.answered += at < 20 ? 1000 : 10
    await pass(10_000)
  }
  expect(await pass(10_000)).not.toContain('100.0/s')
  facts.answered += 10
  expect(await pass(10_000)).toContain('   0.8/s')
})

it('fits into a terminal, with what matters most, and goes away', async () => {
  const { facts, pass, progress, written } = open('terminal', 30)
  await settled()
  facts.answered = 9000
  expect(await pass(500)).toBe('\r\u001b[2K9,000 of 18,000   0.5 s left')
  progress.tell('Something.', { event: 'run.warned' })
  expect(written().endsWith('\r\u001b[2KSomething.\n')).toBe(true)
  progress.stop()
  expect(await pass(10_000)).toBe('')
})

it('is one object a line in JSON', async () => {
  const { pass, facts, progress, written } = open('json')
  await settled()
  facts.answered = 100
  expect(JSON.parse(await pass(10_000))).toEqual({
    time: '2026-11-22T00:00:10.000Z',
    event: 'run.progress',
    total: 18_000,
    answered: 100,
    failed: 0,
    underWay: 24,
    inputTokens: 0,
    outputTokens: 0,
    spentUsd: 0,
    perSecond: 10,
    endsInMs: 1_790_000,
    waitsFor: null,
    nextInMs: null,
  })
  await pass(0)
  progress.tell('A sentence.', { event: 'run.stopping' })
  expect(JSON.parse(written())).toEqual({
    time: '2026-11-22T00:00:10.000Z',
    event: 'run.stopping',
  })
})

it('writes money to the cent, and what is less than one exactly', () => {
  expect([0, 715_000, 9_999_999, 10_000_000, 41_204_900_000].map(dollars)).toEqual([
    '$0',
    '$0.000715',
    '$0.009999999',
    '$0.01',
    '$41.20',
  ])
})
