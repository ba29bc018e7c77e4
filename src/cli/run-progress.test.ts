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
    inBatches: 0,
    inputTokens: 0,
    outputTokens: 0,
    spentNanoUsd: 0,
    isStopping: false,
    waitsFor: null,
    trouble: null,
  }
  let written = ''
  const output = {
    columns,
    write: (text: string) => {
      written += text
    },
  }
  const progress = new Progress({ clock, output, errors: output, form })
  const failures: unknown[] = []
  const pass = async (ms: number): Promise<string> => {
    written = ''
    clock.advanceTo(clock.now() + ms)
    await settled()
    return written
  }
  progress.start(
    async () => facts,
    (error) => failures.push(error),
  )
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
    waitsFor: { what: '30,000 input tokens a minute', until: START + 13_000 },
  })
  expect(await pass(10_000)).toBe(
    '120 of 18,000   24 min 50 s left   $1.25   2 failed   ' +
      'waits for 30,000 input tokens a minute, next in 3.0 s   12.0/s   24 under way   51,234 tokens\n',
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

it('shows a bar where there is room for one', async () => {
  const { facts, pass } = open('terminal', 120)
  await settled()
  facts.answered = 9000
  const line = await pass(500)
  expect(line).toContain('\u001b[2K████████░░░░░░░░ 9,000 of 18,000   ')
  expect(line.length).toBeLessThan(120 + '\r\u001b[2K'.length)
})

it('does not guess when batches bring their answers, or how long a stop takes', async () => {
  const { facts, pass } = open('text')
  await settled()
  Object.assign(facts, { answered: 100, inBatches: 24 })
  expect(await pass(10_000)).toBe('100 of 18,000   $0   24 in batches   0 tokens\n')
  Object.assign(facts, { inBatches: 4, isStopping: true })
  expect(await pass(10_000)).toBe(
    '100 of 18,000   stopping   $0   4 in batches   5.0/s   20 under way   0 tokens\n',
  )
})

it('does not count down what comes back all the time', async () => {
  const { facts, pass } = open('text')
  await settled()
  facts.waitsFor = { what: '50 requests a minute', until: START + 10_999 }
  expect(await pass(10_000)).toBe(
    '0 of 18,000   $0   waits for 50 requests a minute   0.0/s   24 under way   0 tokens\n',
  )
})

it('says what fails where nothing else comes back, as far as there is room', async () => {
  const { facts, pass } = open('terminal', 60)
  await settled()
  facts.answered = 10
  await pass(500)
  facts.trouble = 'the provider could not be reached (ENOTFOUND)'
  expect(await pass(500)).toBe(
    '\r\u001b[2K10 of 18,000   $0   24 under way   tries again after: the …',
  )
})

it('warns on a line of its own', async () => {
  const terminal = open('terminal')
  await settled()
  await terminal.pass(500)
  terminal.progress.warn('the store is back')
  expect(terminal.written()).toContain('\r\u001b[2Kwarning: the store is back\n')
  const json = open('json')
  await settled()
  await json.pass(0)
  json.progress.warn('the store is back')
  expect(JSON.parse(json.written())).toMatchObject({
    event: 'run.warned',
    sentence: 'the store is back',
  })
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
    inBatches: 0,
    inputTokens: 0,
    outputTokens: 0,
    spentUsd: 0,
    perSecond: 10,
    endsInMs: 1_790_000,
    waitsFor: null,
    nextInMs: null,
    trouble: null,
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
