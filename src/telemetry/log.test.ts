import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLog, type LogEvent, type LogOptions } from './log.ts'

const settled = {
  kind: 'request.settled',
  id: 'req_1',
  resource: 'anthropic/1f2e/claude-sonnet-4',
  flow: 'agent-7',
  user: 'alice',
  tier: 'pro',
  lane: 'normal',
  model: 'claude-sonnet-4-5',
  attempts: 1,
  queuedMs: 12.34567,
  durationMs: 900,
  outcome: 'answered',
  status: 200,
  inputTokens: 10,
  outputTokens: 20,
  costUsd: 0.000000123,
} as const satisfies LogEvent

function record(options: Partial<LogOptions> = {}) {
  const lines: string[] = []
  const destination = { write: (line: string) => lines.push(line) }
  return { lines, log: createLog({ level: 'info', format: 'json', destination, ...options }) }
}

const onlyLine = (lines: readonly string[]): unknown => {
  expect(lines).toHaveLength(1)
  return JSON.parse(lines.join())
}

describe('the log', () => {
  it('writes an event as one line of JSON with its named fields', () => {
    const { lines, log } = record()
    log.event(settled)
    const { kind, ...fields } = settled
    expect(onlyLine(lines)).toEqual({
      ...fields,
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      event: kind,
      queuedMs: 12.346,
    })
  })

  it('leaves out what is under its level', () => {
    const { lines, log } = record({ level: 'warn' })
    log.event(settled)
    expect(lines).toEqual([])
    log.event({ kind: 'resource.paused', resource: 'r', pausedMs: 1000 })
    expect(lines).toHaveLength(1)
  })

  it('does not read an event that is under its level', () => {
    const { lines, log } = record({ level: 'silent' })
    const unreadable = Object.defineProperty({ ...settled }, 'model', {
      get: () => {
        throw new Error('read')
      },
    })
    log.event(unreadable)
    log.error('nothing', new Error('hidden'))
    expect(lines).toEqual([])
  })

  it('writes for people without colours where there is no terminal', () => {
    const { lines, log } = record({ format: 'pretty' })
    log.event(settled)
    expect(lines.join()).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: request\.settled \{.*\}\n$/)
  })

  it('writes JSON under auto where there is no terminal', () => {
    const { lines, log } = record({ format: 'auto' })
    log.event({ kind: 'gate.listening', url: 'http://127.0.0.1:4000', store: 'memory' })
    expect(onlyLine(lines)).toMatchObject({ event: 'gate.listening', store: 'memory' })
  })

  it('flushes its destination', () => {
    let flushes = 0
    const destination = { write: () => true, flushSync: () => flushes++ }
    createLog({ level: 'info', format: 'json', destination }).flush()
    expect(flushes).toBe(1)
  })
})

describe('secrets and prompts', () => {
  const known = new Set(Object.keys(settled))
  const header = fc
    .string({ unit: fc.constantFrom(...'abcdefgh-x'), minLength: 1, maxLength: 20 })
    .filter((name) => !known.has(name))

  it('never appear, whichever header carries them to an event', () => {
    fc.assert(
      fc.property(header, fc.boolean(), (name, isNested) => {
        const { lines, log } = record()
        const headers = { [name]: 'SECRET' }
        const carrier = isNested ? { ...settled, headers } : { ...settled, ...headers }
        log.event(carrier)
        expect(lines).toHaveLength(1)
        expect(lines.join()).not.toContain('SECRET')
      }),
    )
  })

  it.each(['sk-ant-api03-SECRET', 'Bearer SECRET', 'x sk-proj-SECRET'])(
    'are hidden where a caller names its flow %s',
    (flow) => {
      const { lines, log } = record()
      log.event({ ...settled, flow, model: flow })
      expect(onlyLine(lines)).toMatchObject({ flow: '(hidden)', model: '(hidden)' })
    },
  )

  it('are cut where a caller sends a text for a model', () => {
    const { lines, log } = record()
    log.event({ ...settled, model: 'tell me '.repeat(1000) })
    expect(lines.join().length).toBeLessThan(1000)
  })

  it('do not appear with an error: its message may quote them', () => {
    const { lines, log } = record()
    try {
      JSON.parse('SECRET prompt\n    at SECRET (x:1:1)')
    } catch (error) {
      log.error('dispatch', error)
    }
    expect(onlyLine(lines)).toMatchObject({
      level: 'error',
      event: 'gate.failed',
      what: 'dispatch',
      error: 'SyntaxError',
      at: expect.arrayContaining([expect.stringMatching(/^at .*log\.test\.ts/)]),
    })
    expect(lines.join()).not.toContain('SECRET')
  })

  it('leave an error its code', () => {
    const { lines, log } = record()
    log.error('upstream', Object.assign(new Error('SECRET'), { code: 'ECONNRESET' }))
    log.error('upstream', 'SECRET')
    expect(lines[0]).toContain('"code":"ECONNRESET"')
    expect(lines[1]).toContain('"error":"string"')
    expect(lines.join()).not.toContain('SECRET')
  })
})
