import { expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { RunNews } from './run-news.ts'
import { Progress } from './run-progress.ts'

function open(form: 'json' | 'terminal' | 'text' = 'text') {
  const clock = new VirtualClock(0)
  const written: string[] = []
  const output = { write: (text: string) => written.push(text) }
  const progress = new Progress({ clock, output, errors: output, form })
  const done = { count: 0 }
  return { clock, written, done, news: new RunNews(progress, clock, () => done.count) }
}

const error = {
  status: 529,
  type: 'overloaded_error',
  message: 'Over\u001b[2Jloaded',
  isRetryable: true,
}

it('tells of a failure that is tried again, until a prompt has an outcome', () => {
  const { news, done } = open()
  expect(news.trouble).toBeNull()
  const failed = { kind: 'attempt_failed', id: 'a', error, costNanoUsd: 0 } as const
  news.hear({ ...failed, retryAt: null })
  expect(news.trouble).toBeNull()
  news.hear({ ...failed, retryAt: 5000 })
  expect(news.trouble).toBe('529 Overloaded')
  done.count++
  expect(news.trouble).toBeNull()
})

it('tells of what the gate meets by itself, but not of limits, which say what they make wait', () => {
  const { news } = open()
  news.bounced('rate_limited', 429)
  expect(news.trouble).toBeNull()
  news.bounced('overloaded', 529)
  expect(news.trouble).toBe('the provider is overloaded')
  news.bounced('overloaded', 503)
  expect(news.trouble).toBe('the provider answers 503')
  news.bounced('connection', null)
  expect(news.trouble).toBe('the provider is out of reach')
})

it('takes a batch that was held up for well again when nothing more is told of it', () => {
  const { news, clock, written } = open()
  news.hear({ kind: 'batch_delayed', batchId: 'b', error, retryAt: 10_000 })
  expect(written).toEqual(['A batch is held up (529 Overloaded): it is tried again in 10 s.\n'])
  clock.advanceTo(39_999)
  expect(news.trouble).toBe('529 Overloaded')
  clock.advanceTo(40_000)
  expect(news.trouble).toBeNull()
})

it('tells what the job waits for before it gets into any line', () => {
  const { news, clock, done } = open()
  news.hear({ kind: 'held', by: 'pace', group: null, until: 3000 })
  expect(news.held).toEqual({
    what: 'its turn, at the pace that makes the limit last',
    until: 3000,
  })
  clock.advanceTo(3000)
  expect(news.held).toBeNull()
  news.hear({ kind: 'held', by: 'money', group: null, until: null })
  expect(news.held?.what).toContain('money')
  news.hear({ kind: 'held', by: 'retries', group: null, until: 60_000 })
  expect(news.held?.what).toContain('money')
  done.count++
  expect(news.held).toBeNull()
})

it('warns of the same trouble once', () => {
  const { news, written } = open()
  for (const message of ['the store is gone', 'the store is gone', 'the disk is slow'])
    news.failed(new Error(message))
  expect(written).toEqual(['warning: the store is gone\n', 'warning: the disk is slow\n'])
})

it('keeps to itself on a terminal what only moves the line', () => {
  const { news, written } = open('terminal')
  news.hear({ kind: 'in_flight', group: null, chosen: 8, because: 'nothing is measured yet' })
  expect(written).toEqual([])
  news.hear({ kind: 'batch_ended', batchId: 'b\u0007', counts: COUNTS, tookMs: 60_000 })
  expect(written).toEqual(['The batch b has ended after 1 min.\n'])
})

const COUNTS = { processing: 0, succeeded: 1, errored: 0, canceled: 0, expired: 0 }
