// A job from the command line up to the emulator: what it writes, says and ends with.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { main } from '../../src/cli/main.ts'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.ts'
import { until } from '../servers/until.ts'
import { type Stub, stubUpstream } from '../stub-upstream.ts'
import { type FakeIo, fakeIo } from './fake-io.ts'

const root = await mkdtemp(path.join(os.tmpdir(), 'headgate-run-'))
afterAll(() => rm(root, { recursive: true }))

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(root, 'one-'))
})

const QUICK: EmulatorOptions = {
  ttftMs: 0,
  tokensPerSecond: 5000,
  limits: { requests: 100_000, inputTokens: 10_000_000, outputTokens: 10_000_000 },
}

async function emulate(settings: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = await startEmulator({
    clock: realClock(),
    random: seededRandom(1),
    settings: { ...QUICK, ...settings },
  })
  cleanUps.push(() => emulator.close())
  return emulator
}

const prompt = (id: string, more: object = {}): string =>
  JSON.stringify({
    id,
    model: 'claude-haiku-4-5',
    max_tokens: 20,
    messages: [{ role: 'user', content: `What is ${id}?` }],
    ...more,
  })

const ids = (count: number): string[] => Array.from({ length: count }, (_, at) => `p${at}`)

async function write(name: string, ...lines: readonly string[]): Promise<string> {
  const file = path.join(folder, name)
  await writeFile(file, lines.map((line) => `${line}\n`).join(''))
  return file
}

const inFolder = (name: string): string => path.join(folder, name)

/** Takes a key for so many requests. */
function expiringUpstream(requests: number): Promise<Stub> {
  let left = requests
  return stubUpstream((response) => {
    const isTaken = left-- > 0
    response.writeHead(isTaken ? 200 : 401, { 'content-type': 'application/json' })
    const usage = { input_tokens: 3, output_tokens: 3 }
    const error = { type: 'authentication_error', message: 'expired' }
    response.end(
      JSON.stringify(isTaken ? { type: 'message', content: [], usage } : { type: 'error', error }),
    )
  })
}

interface Runner {
  readonly io: FakeIo
  readonly ended: Promise<number>
}

/** `headgate run` with a key, on prompts.jsonl of the folder. */
function start(
  upstreamServer: { readonly url: string } | null,
  flags: readonly string[] = [],
  { env = {}, columns }: { env?: Record<string, string>; columns?: number } = {},
): Runner {
  const io = fakeIo({
    folder,
    env: { ANTHROPIC_API_KEY: 'sk-ant-of-a-test', ...env },
    ...(columns === undefined ? {} : { columns }),
  })
  const upstream = upstreamServer ? ['--upstream', `anthropic=${upstreamServer.url}`] : []
  const argv = ['run', inFolder('prompts.jsonl'), '-o', inFolder('answers.jsonl')]
  return { io, ended: main([...argv, ...upstream, ...flags], io) }
}

async function run(...parameters: Parameters<typeof start>) {
  const { io, ended } = start(...parameters)
  const exitCode = await ended
  return { exitCode, out: io.out(), err: io.err() }
}

const recordSchema = z.looseObject({ id: z.string(), cost_usd: z.number().nullable() })

async function recordsIn(name: string) {
  const text = await readFile(inFolder(name), 'utf8')
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => recordSchema.parse(JSON.parse(line)))
}

const idsIn = async (name: string): Promise<string[]> =>
  (await recordsIn(name)).map(({ id }) => id).sort()

describe('headgate run', () => {
  it('has every prompt answered once, and says what it has cost', async () => {
    const emulator = await emulate()
    await write('prompts.jsonl', ...ids(40).map((id) => prompt(id)))
    const { exitCode, out, err } = await run(emulator)
    expect(err).toBe('')
    expect(exitCode).toBe(0)
    expect(await idsIn('answers.jsonl')).toEqual(ids(40).sort())
    expect(await recordsIn('answers.failures.jsonl')).toEqual([])
    const answers = await recordsIn('answers.jsonl')
    expect(answers[0]).toMatchObject({
      response: { type: 'message', role: 'assistant', model: 'claude-haiku-4-5' },
      attempts: 1,
      usage: { input_tokens: expect.any(Number), output_tokens: expect.any(Number) },
    })
    const spent = answers.reduce((sum, answer) => sum + (answer.cost_usd ?? 0), 0)
    expect(spent).toBeGreaterThan(0)
    expect(out).toMatch(/^40 prompts: 40 answered, 0 failed; \$\d+\.\d+; .*\.\n$/m)
    expect(Number(/\$([\d.]+)/.exec(out.split('40 prompts:')[1] ?? '')?.[1])).toBeCloseTo(spent, 9)
    expect(emulator.report().totals.admitted).toBe(40)
  })

  it('sends nothing when there is nothing left to send', async () => {
    const emulator = await emulate()
    await write('prompts.jsonl', ...ids(3).map((id) => prompt(id)))
    await run(emulator)
    const { exitCode, out } = await run(emulator)
    expect(exitCode).toBe(0)
    expect(out).toContain('3 prompts: 3 answered, 0 failed')
    expect(emulator.report().totals.requests).toBe(3)
  })

  it('keeps failures with their reasons, and runs them again when it is told to', async () => {
    const emulator = await emulate()
    await write('prompts.jsonl', prompt('good'), prompt('bad', { system: 3 }))
    const first = await run(emulator)
    expect(first.exitCode).toBe(3)
    expect(first.out).toContain('2 prompts: 1 answered, 1 failed')
    expect(first.out).toContain('--retry-failed')
    expect(await recordsIn('answers.failures.jsonl')).toMatchObject([
      { id: 'bad', line: 2, error: { status: 400, type: 'invalid_request_error' } },
    ])
    expect(await run(emulator)).toMatchObject({ exitCode: 3 })
    expect(emulator.report().totals.admitted).toBe(1)
    const asked = await run(emulator, ['--retry-failed'])
    expect(asked.exitCode).toBe(3)
    expect(await recordsIn('answers.failures.jsonl')).toMatchObject([{ id: 'bad', run: 2 }])
    expect(await idsIn('answers.jsonl')).toEqual(['good'])
  })

  it('never spends more than it may, and goes on when it may spend more', async () => {
    const emulator = await emulate()
    await write('prompts.jsonl', ...ids(30).map((id) => prompt(id)))
    const poor = await run(emulator, ['--max-spend-usd', '0.001'])
    expect(poor).toMatchObject({ exitCode: 3, err: '' })
    expect(poor.out).toContain('could cost more than is left of $0.001')
    const answered = await recordsIn('answers.jsonl')
    expect(answered.length).toBeGreaterThan(0)
    expect(answered.length).toBeLessThan(30)
    const spent = answered.reduce((sum, { cost_usd: usd }) => sum + (usd ?? 0), 0)
    expect(spent).toBeLessThanOrEqual(0.001)
    const still = await run(emulator, ['--max-spend-usd', '0.001'])
    expect(still.exitCode).toBe(3)
    expect(await run(emulator, ['--max-spend-usd', '1'])).toMatchObject({ exitCode: 0 })
    expect(await idsIn('answers.jsonl')).toEqual(ids(30).sort())
  })

  it('stops at a key that is not taken, and loses nothing', async () => {
    await write('prompts.jsonl', ...ids(20).map((id) => prompt(id)))
    await using expiring = await expiringUpstream(5)
    const { exitCode, err } = await run(expiring, ['--max-in-flight', '2'])
    expect(exitCode).toBe(1)
    expect(err).toMatch(
      /nothing more is taken from this key \(401: expired\)\. Nothing is lost: mend that/,
    )
    expect(expiring.received.length).toBeLessThan(9)
    expect(await recordsIn('answers.jsonl')).toHaveLength(5)
    expect(await recordsIn('answers.failures.jsonl')).toEqual([])
    expect(await run(await emulate())).toMatchObject({ exitCode: 0 })
    expect(await idsIn('answers.jsonl')).toEqual(ids(20).sort())
  })

  it('stops where the first prompts all fail for one reason, and names it', async () => {
    await using nowhere = await stubUpstream((response) => {
      response.writeHead(404, { 'content-type': 'application/json' })
      const error = { type: 'not_found_error', message: 'model: claude-hiaku' }
      response.end(JSON.stringify({ type: 'error', error }))
    })
    await write('prompts.jsonl', ...ids(200).map((id) => prompt(id)))
    const { exitCode, err } = await run(nowhere, ['--max-in-flight', '4'])
    expect(exitCode).toBe(1)
    expect(nowhere.received.length).toBeLessThan(30)
    expect(err).toContain(
      'the first 20 prompts have all failed alike (404: model: claude-hiaku). Mend that, and run the same command with --retry-failed. Prompts',
    )
  })
})

describe('a limit of an hour', () => {
  it('ends a job that is told to stop then, and says when there is room', async () => {
    const emulator = await emulate()
    await write('prompts.jsonl', ...ids(10).map((id) => prompt(id)))
    await write(
      'headgate.yaml',
      'providers: { anthropic: { limits: [{ match: claude-haiku-4*, requests: 4/hour sliding }] } }',
    )
    const { exitCode, out } = await run(emulator, ['--long-windows', 'stop'])
    expect(exitCode).toBe(3)
    const [, when = ''] =
      /Used up: 4 requests per 3600 s\. There is room again at (\S+):/.exec(out) ?? []
    const waitMs = Date.parse(when) - Date.now()
    expect(waitMs).toBeGreaterThan(3_500_000)
    // The window slides in steps of about a minute.
    expect(waitMs).toBeLessThan(3_700_000)
    expect(await idsIn('answers.jsonl')).toHaveLength(4)
    expect(await recordsIn('answers.failures.jsonl')).toEqual([])
  })
})

describe('a signal', () => {
  it('ends a run when what is under way has ended, and the same command goes on', async () => {
    const emulator = await emulate({ ttftMs: 200 })
    await write('prompts.jsonl', ...ids(30).map((id) => prompt(id)))
    const { io, ended } = start(emulator, ['--max-in-flight', '4'])
    await until('prompts are under way', async () => emulator.report().totals.requests > 3)
    io.process.emit('SIGINT', 'SIGINT')
    expect(await ended).toBe(3)
    expect(io.out()).toContain('Stopped. The same command goes on from here.')
    expect(io.process.eventNames()).toEqual([])
    const { admitted } = emulator.report().totals
    expect(await idsIn('answers.jsonl')).toHaveLength(admitted)
    expect(admitted).toBeLessThan(30)
    const rest = await run(emulator)
    expect(rest).toMatchObject({ exitCode: 0 })
    expect(rest.out).toContain(`Goes on after ${admitted} of 30 prompts.`)
    expect(await idsIn('answers.jsonl')).toEqual(ids(30).sort())
    expect(emulator.report().totals.admitted).toBe(30)
  })

  it('ends it at once when it comes a second time', async () => {
    const emulator = await emulate({ ttftMs: 600_000 })
    await write('prompts.jsonl', ...ids(5).map((id) => prompt(id)))
    const { io, ended } = start(emulator)
    await until('prompts are under way', async () => emulator.report().totals.requests > 0)
    io.process.emit('SIGTERM', 'SIGTERM')
    await io.until('Stopping')
    io.process.emit('SIGTERM', 'SIGTERM')
    expect(await ended).toBe(3)
    expect(await recordsIn('answers.failures.jsonl')).toEqual([])
    const quick = await emulate()
    const rest = await run(quick)
    expect(rest).toMatchObject({ exitCode: 0 })
    expect(rest.out).toMatch(/\d prompts? may be sent a second time/)
  })
})

describe('a provider that gives no answers', () => {
  it('is told of while the job waits, which one signal ends', async () => {
    await using failing = await stubUpstream((response) => {
      response.writeHead(529, { 'content-type': 'application/json' })
      response.end('{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    })
    await write('prompts.jsonl', prompt('a'), prompt('b'))
    const { io, ended } = start(failing, [], { columns: 120 })
    const seen = await io.until('tries again after: the provider is overloaded')
    expect(seen).toMatch(/0 of 2 {3}\$0 {3}2 under way {3}tries again after/)
    io.process.emit('SIGINT', 'SIGINT')
    expect(await ended).toBe(3)
    expect(io.out()).toMatch(/2 prompts: 0 answered, 0 failed, 2 left; \$0; .*\nStopped\./)
    expect(await run(await emulate())).toMatchObject({ exitCode: 0 })
  })
})

describe('what is wrong', () => {
  it('with lines is told before anything is sent', async () => {
    const emulator = await emulate()
    const file = await write('prompts.jsonl', prompt('a'), '{"model": "m"', prompt('a'))
    const { exitCode, err } = await run(emulator)
    expect(exitCode).toBe(2)
    expect(err).toBe(`${file}:2: is not JSON\n${file}:3: has the id "a" of line 1\n`)
    expect(emulator.report().totals.requests).toBe(0)
    const skipping = await run(emulator, ['--skip-bad'])
    expect(skipping.exitCode).toBe(3)
    expect(await idsIn('answers.jsonl')).toEqual(['a'])
    expect(await recordsIn('answers.failures.jsonl')).toMatchObject([
      { line: 2, error: { type: 'bad_line' } },
      { line: 3, error: { type: 'bad_line' } },
    ])
  })

  it('with the command is told in a line, with exit code 2', async () => {
    const file = await write('prompts.jsonl', prompt('a'))
    const missing = inFolder('none.jsonl')
    const io = fakeIo({ folder })
    expect(await main(['run', missing, '-o', 'x', '--dry-run'], io)).toBe(2)
    expect(io.err()).toContain('there is no such file')
    expect(await main(['run', '-', '-o', 'x'], io)).toBe(2)
    expect(io.err()).toContain('error: the input is read twice: it has to be a file')
    expect(await main(['run', file, '-o', '-'], io)).toBe(2)
    expect(io.err()).toContain('error: a later run reads the output: it has to be a file')
    expect(await main(['run', file], io)).toBe(2)
    expect(io.err()).toContain("required option '-o, --output <FILE>' not specified")
    expect(await main(['run', file, '-o', inFolder('x.jsonl')], io)).toBe(2)
    expect(io.err()).toContain('there is no key: set ANTHROPIC_API_KEY')
    const { exitCode, err } = await run(null, ['--max-in-flight', '0'])
    expect([exitCode, err]).toEqual([2, expect.stringContaining('It is neither auto nor a whole')])
    expect(await run(null, ['--lane', 'slow'])).toMatchObject({ exitCode: 2 })
  })

  it('with the place for the answers is told, with exit code 1', async () => {
    const file = await write('prompts.jsonl', prompt('a'))
    const io = fakeIo({ folder, env: { ANTHROPIC_API_KEY: 'k' } })
    expect(await main(['run', file, '-o', inFolder('no/where.jsonl')], io)).toBe(1)
    expect(io.err()).toBe(
      `${inFolder('no/where.jsonl')}: cannot be written: there is no such file or folder\n`,
    )
  })
})

describe('--dry-run', () => {
  it('says what a job would take, and sends and writes nothing', async () => {
    const emulator = await emulate()
    await write('prompts.jsonl', ...ids(100).map((id) => prompt(id)), prompt('x', { model: 'new' }))
    await write(
      'headgate.yaml',
      'providers: { anthropic: { limits: [{ match: claude-haiku-4*, requests: 10/min }] } }',
    )
    const { exitCode, out } = await run(emulator, ['--dry-run'])
    expect(exitCode).toBe(0)
    expect(out).toMatch(/^prompts +101$/m)
    expect(out).toMatch(/^input tokens +about [\d,]+$/m)
    expect(out).toMatch(
      /^cost +about \$[\d.]+, at most \$[\d.]+, without what has no known price$/m,
    )
    expect(out).toMatch(/^no known price +new, 1 prompt$/m)
    expect(out).toMatch(/^time +9 min or more, by the limits$/m)
    expect(emulator.report().totals.requests).toBe(0)
    await expect(readFile(inFolder('answers.jsonl'))).rejects.toThrow('ENOENT')
  })
})

describe('--dry-run --within', () => {
  const sums = (out: string): Record<string, string> =>
    Object.fromEntries(
      out
        .trimEnd()
        .split('\n')
        .map((line) => [line.slice(0, 15).trimEnd(), line.slice(15).trim()]),
    )
  const about = (text = ''): number => Number(/about \$([\d.]+)/.exec(text)?.[1])

  it('says what goes as batches, and for how much less', async () => {
    // Less than a cent, which is told exactly.
    await write('prompts.jsonl', ...ids(40).map((id) => prompt(id)))
    const { exitCode, out } = await run(null, ['--dry-run', '--within', '24h'])
    expect(exitCode).toBe(0)
    const found = sums(out)
    expect(found).toMatchObject({
      'in batches': '40 prompts',
      time: 'mostly within an hour, a day at most',
    })
    expect(about(found['one by one'])).toBeGreaterThan(0)
    expect(about(found.cost)).toBeCloseTo(about(found['one by one']) / 2, 9)
    // What it is likely to cost as it would be sent.
    const enough = (about(found.cost) * 1.5).toFixed(9)
    const within = ['--within', '24h', '--max-spend-usd', enough]
    expect((await run(null, ['--dry-run', ...within])).out).not.toContain('likely to be more')
    const alone = ['--dry-run', '--max-spend-usd', enough]
    expect((await run(null, alone)).out).toContain('likely to be more than --max-spend-usd')
  })

  it('says why nothing does', async () => {
    await write('prompts.jsonl', ...ids(3).map((id) => prompt(id)))
    const late = await run(null, ['--dry-run', '--within', '30m'])
    expect(sums(late.out)['in batches']).toMatch(/^none: --within leaves no time to send all/)
    expect(late.out).not.toContain('one by one  ')
    await write('prompts.jsonl', prompt('x', { model: 'new' }))
    const unknown = await run(null, ['--dry-run', '--within', '24h'])
    expect(sums(unknown.out)['in batches']).toBe('none: they are not known to be cheaper there')
    await write('prompts.jsonl', prompt('y'))
    await write('headgate.yaml', 'tiers: { free: { budget: 1 USD/month } }\ndefault_tier: free')
    const env = { HEADGATE_LEDGER: `sqlite:${inFolder('ledger.db')}` }
    const bound = await run(null, ['--dry-run', '--within', '24h'], { env })
    expect(sums(bound.out)['in batches']).toMatch(/^none: a budget is kept/)
  })

  it('reckons with the limits that are configured, as the run does', async () => {
    await write('prompts.jsonl', ...ids(100).map((id) => prompt(id)))
    await write(
      'headgate.yaml',
      'providers: { anthropic: { limits: [{ match: claude-haiku-4*, requests: 2/min burst 1 }] } }',
    )
    // One by one they take 50 minutes.
    const late = await run(null, ['--dry-run', '--within', '1h45m'])
    expect(sums(late.out)['in batches']).toMatch(/^none: --within leaves no time to send all/)
    const early = await run(null, ['--dry-run', '--within', '1h50m'])
    expect(sums(early.out)['in batches']).toBe('100 prompts')
  })
})

describe('progress', () => {
  it('is JSON where that is asked for', async () => {
    const emulator = await emulate()
    await write('prompts.jsonl', ...ids(3).map((id) => prompt(id)))
    const { out } = await run(emulator, ['--log-format', 'json'])
    const events = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(events.map(({ event }) => event)).toContain('run.progress')
    expect(events.at(-1)).toMatchObject({
      event: 'run.ended',
      end: 'finished',
      total: 3,
      answered: 3,
      failed: 0,
      open: 0,
      reason: null,
    })
  })

  it('is one line that changes on a terminal, and is gone in the end', async () => {
    const emulator = await emulate({ ttftMs: 300 })
    await write('prompts.jsonl', ...ids(8).map((id) => prompt(id)))
    const { out } = await run(emulator, ['--max-in-flight', '2'], { columns: 60 })
    const drawn = out.split('\r\u001b[2K').filter((line) => line.includes(' of 8'))
    expect(drawn.length).toBeGreaterThan(1)
    for (const line of drawn) expect(line.split('\n')[0]?.length).toBeLessThan(60)
    expect(out.endsWith('\n')).toBe(true)
  })
})
