import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { batchedSink, openBatchedSink } from './batched-sink.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const busy = () => Object.assign(new Error('busy'), { code: 'EAGAIN' })

/** A reader that does as `plan` says with each write: how many bytes it takes, or none for now. */
function reader(plan: readonly (number | 'busy')[]) {
  const taken: Buffer[] = []
  const steps = [...plan]
  const write = (bytes: Buffer): number => {
    const step = steps.shift() ?? bytes.length
    if (step === 'busy') throw busy()
    const part = bytes.subarray(0, step)
    taken.push(Buffer.from(part))
    return part.length
  }
  return { write, taken, text: () => Buffer.concat(taken).toString() }
}

describe('a batched sink', () => {
  it('writes soon, and once for many lines', () => {
    const { write, taken } = reader([])
    const sink = batchedSink(write)
    for (const line of ['one\n', 'two\n']) sink.write(line)
    expect(taken).toEqual([])
    vi.advanceTimersByTime(50)
    expect(taken.map(String)).toEqual(['one\ntwo\n'])
  })

  it('writes at once when a batch is full', () => {
    const { write, text } = reader([])
    batchedSink(write).write('x'.repeat(20_000))
    expect(text()).toHaveLength(20_000)
  })

  it('loses and reorders nothing, however little a reader takes', () => {
    const step = fc.oneof(fc.integer({ min: 1, max: 7 }), fc.constant('busy' as const))
    const lines = fc.array(fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant('x'.repeat(9000))))
    fc.assert(
      fc.property(fc.array(step), lines, (plan, texts) => {
        const { write, text } = reader(plan)
        const sink = batchedSink(write)
        for (const line of texts) sink.write(line)
        vi.advanceTimersByTime(50 * (plan.length + 1))
        expect(text()).toBe(Buffer.from(texts.join('')).toString())
      }),
    )
  })

  it('drops what a broken reader does not take, and goes on', () => {
    const taken: string[] = []
    let isBroken = true
    const sink = batchedSink((bytes) => {
      if (isBroken) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
      taken.push(bytes.toString())
      return bytes.length
    })
    sink.write('lost\n')
    sink.flushSync()
    isBroken = false
    sink.write('kept\n')
    sink.flushSync()
    expect(taken).toEqual(['kept\n'])
  })

  it('gives up a backlog that a slow reader lets grow too long', () => {
    const { write, text } = reader(['busy', 'busy'])
    const sink = batchedSink(write)
    sink.write('x'.repeat(2 ** 26))
    sink.write('y'.repeat(20_000))
    sink.write('z')
    sink.flushSync()
    expect(text()).toBe('z')
  })

  it('writes to a file descriptor', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'headgate-'))
    const fd = openSync(path.join(folder, 'log'), 'w')
    onTestFinished(() => {
      closeSync(fd)
      rmSync(folder, { recursive: true })
    })
    const sink = openBatchedSink(fd)
    onTestFinished(() => void process.removeListener('exit', sink.flushSync))
    sink.write('line\n')
    sink.flushSync()
    expect(readFileSync(path.join(folder, 'log'), 'utf8')).toBe('line\n')
  })
})
