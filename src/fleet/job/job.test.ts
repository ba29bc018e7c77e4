import { appendFile, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { realClock, VirtualClock } from '../../core/clock.ts'
import { BatchOutOfReach } from '../batch/batch-record.ts'
import { NOT_SENT_AGAIN } from '../outcome.ts'
import type { Answered, Failed, FleetResult } from '../payload.ts'
import { Job, type JobOptions, type PromptSender, type RunEnd } from './job.ts'
import { JobError } from './problem.ts'

const root = await mkdtemp(path.join(os.tmpdir(), 'headgate-job-'))
afterAll(() => rm(root, { recursive: true }))

const jobs: Job[] = []
afterEach(async () => {
  for (const job of jobs.splice(0)) await job[Symbol.asyncDispose]()
})

const MICRO = 1000
const NEVER = new AbortController().signal

const promptLine = (id: string): string =>
  `${JSON.stringify({ id, model: 'm', max_tokens: 5, messages: [{ role: 'user', content: id }] })}\n`

interface Place {
  readonly input: string
  readonly output: string
  readonly failures: string
  readonly journal: string
}

async function place(prompts: number): Promise<Place> {
  const folder = await mkdtemp(path.join(root, 'one-'))
  const input = path.join(folder, 'prompts.jsonl')
  const ids = Array.from({ length: prompts }, (_, index) => `p${index}`)
  await writeFile(input, ids.map(promptLine).join(''))
  const output = path.join(folder, 'answers.jsonl')
  const failures = path.join(folder, 'answers.failures.jsonl')
  return { input, output, failures, journal: `${output}.journal` }
}

async function open({ input, output }: Place, more: Partial<JobOptions> = {}): Promise<Job> {
  const job = await Job.open({
    inputPath: input,
    outputPath: output,
    clock: realClock(),
    skipsBad: false,
    retriesFailed: false,
    about: { lane: 'low' },
    ...more,
  })
  jobs.push(job)
  return job
}

const OUTCOME = { index: 0, latencyMs: 12.3, attempts: 1, tokens: null }

const answered = (id: string): Answered => ({
  ...OUTCOME,
  kind: 'answered',
  id,
  response: { text: `about ${id}` },
  tokens: { input: 3, cacheRead: 2, cacheWrite: 1, output: 4 },
  costNanoUsd: 2 * MICRO,
  costUsd: 0.000002,
})

const failed = (id: string): Failed => ({
  ...OUTCOME,
  kind: 'failed',
  id,
  costNanoUsd: MICRO,
  costUsd: 0.000001,
  error: { status: 400, type: 'invalid_request_error', message: `no ${id}`, isRetryable: false },
})

/** A sender that answers one prompt after the other, as a test says. */
function sending(answer: (id: string) => FleetResult | null): PromptSender & { sent: string[] } {
  const sent: string[] = []
  return {
    sent,
    async *dispatch(payloads, { spending }) {
      for await (const { id } of payloads) {
        await spending.sending({ id, worstNanoUsd: 10 * MICRO })
        sent.push(id)
        const result = answer(id)
        if (result) yield result
        if (result && result.kind !== 'answered' && result.kind !== 'failed') return
      }
    },
  }
}

async function run(job: Job, sender: PromptSender, stop = NEVER, abort = NEVER): Promise<RunEnd> {
  const end = await job.run(sender, { stop, abort })
  await job[Symbol.asyncDispose]()
  return end
}

async function recordsIn(file: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(file, 'utf8')
  expect(text === '' || text.endsWith('\n')).toBe(true)
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

const idsIn = async (file: string): Promise<unknown[]> =>
  (await recordsIn(file)).map(({ id }) => id)

async function problemOf(opening: Promise<unknown>): Promise<JobError> {
  try {
    await opening
  } catch (error) {
    if (error instanceof JobError) return error
    throw error
  }
  throw new Error('nothing was wrong')
}

describe('a job', () => {
  it('keeps one line for each answer, and each failure with its reason', async () => {
    const files = await place(3)
    const job = await open(files)
    const sender = sending((id) => (id === 'p1' ? failed(id) : answered(id)))
    expect(await run(job, sender)).toEqual({ kind: 'finished' })
    expect(await recordsIn(files.output)).toEqual(
      ['p0', 'p2'].map((id) => ({
        id,
        response: { text: `about ${id}` },
        usage: {
          input_tokens: 3,
          cache_read_input_tokens: 2,
          cache_creation_input_tokens: 1,
          output_tokens: 4,
        },
        cost_usd: 0.000002,
        latency_ms: 12,
        attempts: 1,
      })),
    )
    expect(await recordsIn(files.failures)).toEqual([
      {
        id: 'p1',
        line: 2,
        run: 1,
        error: {
          status: 400,
          type: 'invalid_request_error',
          message: 'no p1',
          is_retryable: false,
        },
        cost_usd: 0.000001,
        latency_ms: 12,
        attempts: 1,
      },
    ])
    expect(job.standing).toMatchObject({ answered: 2, failed: 1, open: 0, outputTokens: 8 })
    expect(job.spentNanoUsd).toBe(5 * MICRO)
  })

  it('sends nothing again that has an outcome', async () => {
    const files = await place(3)
    await run(
      await open(files),
      sending((id) => (id === 'p1' ? failed(id) : answered(id))),
    )
    const job = await open(files)
    expect(job).toMatchObject({ doneBefore: 3, spentNanoUsd: 5 * MICRO })
    const again = sending(answered)
    expect(await run(job, again)).toEqual({ kind: 'finished' })
    expect(again.sent).toEqual([])
  })

  it('runs failures again when it is told to, once each, and keeps their cost in mind', async () => {
    const files = await place(3)
    await run(await open(files), sending(failed))
    const second = sending((id) => (id === 'p0' ? answered(id) : failed(id)))
    await run(await open(files, { retriesFailed: true }), second)
    expect(second.sent).toEqual(['p0', 'p1', 'p2'])
    expect(await idsIn(files.output)).toEqual(['p0'])
    expect(await idsIn(files.failures)).toEqual(['p1', 'p2'])
    const job = await open(files)
    expect(job.standing).toMatchObject({ answered: 1, failed: 2, open: 0 })
    expect(job.lost).toEqual({ prompts: 0, costNanoUsd: 0 })
    expect(job.spentNanoUsd).toBe((3 + 2 + 2) * MICRO)
  })

  it('takes up failures once, although the run that did so died before they were gone', async () => {
    const files = await place(3)
    await run(
      await open(files),
      sending((id) => (id === 'p0' ? answered(id) : failed(id))),
    )
    const before = await readFile(files.failures)
    await (await open(files, { retriesFailed: true }))[Symbol.asyncDispose]()
    // The journal was on the disk, and the failures were not cleared.
    await writeFile(files.failures, before)
    const job = await open(files)
    expect(job.standing).toMatchObject({ answered: 1, failed: 0, open: 2 })
    expect(job.spentNanoUsd).toBe((2 + 1 + 1) * MICRO)
    expect(await idsIn(files.failures)).toEqual([])
    await run(
      job,
      sending((id) => (id === 'p1' ? answered(id) : failed(id))),
    )
    expect(await idsIn(files.output)).toEqual(['p0', 'p1'])
    expect(await idsIn(files.failures)).toEqual(['p2'])
    const last = await open(files)
    expect(last.standing).toMatchObject({ answered: 2, failed: 1, open: 0 })
    expect(last.spentNanoUsd).toBe((2 + 1 + 1 + 2 + 1) * MICRO)
  })

  it('makes failures of bad lines where these are skipped, and sends the rest', async () => {
    const files = await place(1)
    await appendFile(files.input, `nonsense\n${promptLine('p0')}${promptLine('p3')}`)
    const sender = sending(answered)
    const job = await open(files, { skipsBad: true })
    expect(await run(job, sender)).toEqual({ kind: 'finished' })
    expect(sender.sent).toEqual(['p0', 'p3'])
    const messages = (await recordsIn(files.failures)).map(({ line, error }) => [line, error])
    expect(messages).toMatchObject([
      [2, { type: 'bad_line', message: 'The line is not JSON.' }],
      [3, { type: 'bad_line', message: 'The line has the id "p0" of line 1.' }],
    ])
    const again = await open(files, { skipsBad: true })
    expect(again.standing).toMatchObject({ answered: 2, failed: 2, open: 0 })
  })
})

describe('a run', () => {
  it('takes nothing new once it is stopped, and keeps what comes', async () => {
    const files = await place(5)
    const stop = new AbortController()
    const sender = sending((id) => {
      if (id === 'p1') stop.abort()
      return answered(id)
    })
    expect(await run(await open(files), sender, stop.signal)).toEqual({ kind: 'stopped' })
    expect(await idsIn(files.output)).toEqual(['p0', 'p1'])
    const rest = sending(answered)
    expect(await run(await open(files), rest)).toEqual({ kind: 'finished' })
    expect(await idsIn(files.output)).toEqual(['p0', 'p1', 'p2', 'p3', 'p4'])
  })

  it('that is aborted makes no failures of what it has cut off', async () => {
    const files = await place(3)
    const abort = new AbortController()
    const sender = sending((id) => {
      if (id !== 'p1') return answered(id)
      abort.abort()
      return failed(id)
    })
    const end = await run(await open(files), sender, abort.signal, abort.signal)
    expect(end).toEqual({ kind: 'stopped' })
    expect(await recordsIn(files.failures)).toEqual([])
    const job = await open(files)
    expect(job.standing).toMatchObject({ answered: 1, failed: 0, open: 2 })
    // It may have been answered, and paid for.
    expect(job.lost).toEqual({ prompts: 1, costNanoUsd: 10 * MICRO })
    expect(job.spentNanoUsd).toBe(12 * MICRO)
  })

  it.each([
    [401, 'no p1', false],
    [402, 'no p1', false],
    [429, 'You have reached your API usage limits', false],
    [400, 'Your credit balance is too low to access the API.', false],
    [400, 'You have reached your specified workspace API usage limits.', false],
  ])(
    'ends where the provider takes nothing more (%i, %s), and leaves the rest for another time',
    async (status, message, isRetryable) => {
      const files = await place(4)
      const sender = sending((id) =>
        id === 'p0'
          ? answered(id)
          : {
              ...failed(id),
              costNanoUsd: 0,
              error: { status, type: 'some_error', message, isRetryable },
            },
      )
      expect(await run(await open(files), sender)).toEqual({ kind: 'shut_out', status, message })
      expect(sender.sent).toEqual(['p0', 'p1'])
      const job = await open(files)
      expect(job.standing).toMatchObject({ answered: 1, failed: 0, open: 3 })
      expect(job.lost).toEqual({ prompts: 0, costNanoUsd: 0 })
    },
  )

  it('counts what a prompt has cost by then that met this at a later sending', async () => {
    const files = await place(2)
    const error = { status: 401, type: 'authentication_error', message: 'no', isRetryable: false }
    const job = await open(files)
    await run(
      job,
      sending((id) => ({ ...failed(id), error })),
    )
    expect(job.spentNanoUsd).toBe(MICRO)
    const again = await open(files)
    expect(again.lost).toEqual({ prompts: 0, costNanoUsd: 0 })
    expect(again.spentNanoUsd).toBe(MICRO)
  })

  it('has nothing sent again once it has ended', async () => {
    const files = await place(3)
    const job = await open(files)
    let isStopped = false
    await job.run(
      {
        async *dispatch(payloads, { stop }) {
          for await (const { id } of payloads) {
            const error = { status: 402, type: 'billing_error', message: 'no', isRetryable: false }
            yield { ...failed(id), error }
            isStopped = stop.aborted
          }
        },
      },
      { stop: NEVER, abort: NEVER },
    )
    expect(isStopped).toBe(true)
  })

  it('loses nothing to a kill that was taken and not about to be sent yet', async () => {
    const files = await place(3)
    const abort = new AbortController()
    const job = await open(files)
    await job.run(
      {
        // biome-ignore lint/correctness/useYield: it is aborted before there is a result
        async *dispatch(payloads, { spending, signal }) {
          for await (const { id } of payloads) {
            if (id === 'p0') await spending.sending({ id, worstNanoUsd: 10 * MICRO })
            if (id === 'p2') abort.abort()
            signal.throwIfAborted()
          }
        },
      },
      { stop: NEVER, abort: abort.signal },
    )
    await job[Symbol.asyncDispose]()
    const again = await open(files)
    expect(again.lost).toEqual({ prompts: 1, costNanoUsd: 10 * MICRO })
    expect(again.standing.open).toBe(3)
  })

  it('counts what failed attempts have cost of which a kill keeps the end', async () => {
    const files = await place(2)
    const abort = new AbortController()
    const job = await open(files)
    await job.run(
      {
        async *dispatch(payloads, { spending, signal }) {
          for await (const { id } of payloads) {
            await spending.sending({ id, worstNanoUsd: 10 * MICRO })
            await spending.failedAttempt({ id, costNanoUsd: 3 * MICRO })
            await spending.failedAttempt({ id, costNanoUsd: 4 * MICRO })
            if (id === 'p0') yield { ...answered(id), costNanoUsd: 9 * MICRO }
            else abort.abort()
            signal.throwIfAborted()
          }
        },
      },
      { stop: NEVER, abort: abort.signal },
    )
    expect(job.spentNanoUsd).toBe((9 + 3 + 4 + 10) * MICRO)
    await job[Symbol.asyncDispose]()
    const again = await open(files)
    expect(again.lost).toEqual({ prompts: 1, costNanoUsd: (3 + 4 + 10) * MICRO })
    expect(again.spentNanoUsd).toBe((9 + 3 + 4 + 10) * MICRO)
    await run(again, sending(answered))
    expect((await open(files)).spentNanoUsd).toBe((9 + 3 + 4 + 10 + 2) * MICRO)
  })

  it.each<[string, PromptSender['dispatch']]>([
    [
      'waits for a batch',
      async function* (payloads, { batches }) {
        for await (const { id } of payloads) await batches.journal.joined?.({ id, index: 0 })
        yield* []
      },
    ],
    [
      'is answered without being sent',
      async function* (payloads) {
        for await (const { id } of payloads) yield answered(id)
      },
    ],
    [
      'fails without being sent',
      async function* (payloads) {
        for await (const { id } of payloads) yield failed(id)
      },
    ],
  ])('forgets no loss of an earlier one when its prompt %s', async (_, dispatch) => {
    const files = await place(1)
    const abort = new AbortController()
    await run(
      await open(files),
      sending(() => {
        abort.abort()
        return null
      }),
      NEVER,
      abort.signal,
    )
    const job = await open(files)
    expect(job.lost).toEqual({ prompts: 1, costNanoUsd: 10 * MICRO })
    const before = job.spentNanoUsd
    await run(job, { dispatch })
    expect(job.spentNanoUsd).toBeGreaterThanOrEqual(before)
    expect((await open(files)).spentNanoUsd).toBe(job.spentNanoUsd)
  })

  it.each<[string, PromptSender]>([
    ['alone', sending(answered)],
    [
      'in a batch',
      {
        async *dispatch(payloads, { batches: { journal } }) {
          const places = []
          for await (const { id } of payloads) places.push({ id, index: 0 })
          const batch = { name: 'hg_one', batchId: null, payloads: places, size: 2, sentAt: 1 }
          await journal.submitting(batch)
          yield* []
        },
      },
    ],
  ])('says of each prompt that may be sent twice, until it is sent %s', async (_, sender) => {
    const files = await place(2)
    const abort = new AbortController()
    await run(
      await open(files),
      sending(() => {
        abort.abort()
        return null
      }),
      NEVER,
      abort.signal,
    )
    const idle: PromptSender = { async *dispatch() {} }
    for (let again = 0; again < 2; again++) {
      const job = await open(files)
      expect(job.lost).toEqual({ prompts: 1, costNanoUsd: 10 * MICRO })
      await run(job, idle)
    }
    await run(await open(files), sender)
    expect((await open(files)).lost).toEqual({ prompts: 0, costNanoUsd: 10 * MICRO })
  })

  it('loses nothing that was about to be sent when a batch was out of reach', async () => {
    const files = await place(2)
    const error = { status: 403, type: 'permission_error', message: 'no', isRetryable: false }
    const sender: PromptSender = {
      // biome-ignore lint/correctness/useYield: no result comes
      async *dispatch(payloads, { spending }) {
        for await (const { id } of payloads)
          await spending.sending({ id, worstNanoUsd: 10 * MICRO })
        throw new BatchOutOfReach('msgbatch_1', error)
      },
    }
    const job = await open(files)
    expect(await run(job, sender)).toMatchObject({ kind: 'batch_out_of_reach', status: 403 })
    expect(job.spentNanoUsd).toBe(0)
    expect((await open(files)).lost).toEqual({ prompts: 0, costNanoUsd: 0 })
  })

  it('sends once more what a batch gave back, and nothing that is not on the disk yet', async () => {
    const files = await place(2)
    const gone = { status: null, type: 'expired', message: 'too late', isRetryable: true }
    let isBack = false
    const sender = sending((id) => {
      if (id !== 'p0' || isBack) return answered(id)
      isBack = true
      return { ...failed(id), via: 'batch', costNanoUsd: 0, error: gone }
    })
    expect(await run(await open(files), sender)).toEqual({ kind: 'finished' })
    expect(sender.sent).toEqual(['p0', 'p1', 'p0'])
  })

  it('goes on after a failure that is one prompt’s own', async () => {
    const files = await place(2)
    const ill = { status: 500, type: 'api_error', message: 'oh', isRetryable: true }
    const sender = sending((id) => ({ ...failed(id), error: ill }))
    expect(await run(await open(files), sender)).toEqual({ kind: 'finished' })
    expect(sender.sent).toEqual(['p0', 'p1'])
  })

  it('sends again what nothing got through for, and keeps no failure of it', async () => {
    const files = await place(3)
    const clock = new VirtualClock(1000)
    const gone = { status: 529, type: 'overloaded_error', message: 'later', isRetryable: true }
    let isUp = false
    const sender = sending((id) =>
      isUp || id === 'p0' ? answered(id) : { ...failed(id), error: gone },
    )
    const job = await open(files, { clock })
    const ending = run(job, sender)
    await vi.waitUntil(() => job.pause)
    expect(job.pause).toEqual({ prompts: 2, until: 61_000 })
    isUp = true
    clock.advanceTo(61_000)
    expect(await ending).toEqual({ kind: 'finished' })
    expect(sender.sent).toEqual(['p0', 'p1', 'p2', 'p1', 'p2'])
    expect(await idsIn(files.failures)).toEqual([])
    // What they had cost before counts.
    expect((await open(files)).spentNanoUsd).toBe((3 * 2 + 2) * MICRO)
  })

  it('ends where all that it sends fails for one reason', async () => {
    const files = await place(50)
    const error = { status: 404, type: 'not_found_error', message: 'model: m', isRetryable: false }
    const sender = sending((id) => ({ ...failed(id), error }))
    expect(await run(await open(files), sender)).toEqual({ kind: 'alike', prompts: 20, error })
    expect(sender.sent).toHaveLength(20)
    expect(await idsIn(files.failures)).toHaveLength(20)
  })

  it('sends no prompt whose answer out of a batch is on its way to the disk', async () => {
    const files = await place(3)
    const sent: string[] = []
    const job = await open(files)
    const end = await run(job, {
      async *dispatch(payloads) {
        const lines = payloads[Symbol.asyncIterator]()
        sent.push((await lines.next()).value.id)
        yield { ...answered('p2'), via: 'batch' }
        for (;;) {
          const next = await lines.next()
          if (next.done) break
          sent.push(next.value.id)
        }
        for (const id of sent) yield answered(id)
      },
    })
    expect(end).toEqual({ kind: 'finished' })
    expect(sent).toEqual(['p0', 'p1'])
  })

  it('hands on that the money or the quota is used up', async () => {
    const files = await place(3)
    const spent = { kind: 'budget_exceeded', spentNanoUsd: MICRO, maxSpendUsd: 1 } as const
    const sender = sending((id) => (id === 'p0' ? answered(id) : spent))
    expect(await run(await open(files), sender)).toEqual(spent)
    const quota = { kind: 'quota_exhausted', limit: '1 tokens per 3600 s', resumeAt: 5 } as const
    expect(
      await run(
        await open(files),
        sending(() => quota),
      ),
    ).toEqual(quota)
    expect(await idsIn(files.output)).toEqual(['p0'])
    // What was taken to be sent, and was not, has cost nothing.
    expect((await open(files)).spentNanoUsd).toBe(2 * MICRO)
  })

  it('leaves a prompt open that was to be sent again when it stopped', async () => {
    const files = await place(2)
    const spent = { kind: 'budget_exceeded', spentNanoUsd: MICRO, maxSpendUsd: 1 } as const
    const stopped = (id: string) => ({ ...failed(id), error: NOT_SENT_AGAIN })
    await run(
      await open(files),
      sending((id) => (id === 'p0' ? stopped(id) : spent)),
    )
    expect(await idsIn(files.failures)).toEqual([])
    const rest = sending(answered)
    expect(await run(await open(files), rest)).toEqual({ kind: 'finished' })
    expect(rest.sent).toEqual(['p0', 'p1'])
  })

  it('says so when prompts were left without an outcome', async () => {
    const files = await place(2)
    expect(
      await run(
        await open(files),
        sending(() => null),
      ),
    ).toMatchObject({ kind: 'broken' })
  })
})

describe('after a crash', () => {
  it('cuts off a torn line of each file, and sends what it was of again', async () => {
    const files = await place(3)
    const stop = new AbortController()
    const sender = sending((id) => {
      if (id === 'p1') stop.abort()
      return id === 'p0' ? failed(id) : answered(id)
    })
    await run(await open(files), sender, stop.signal)
    await appendFile(files.output, '{"id":"p2","response":{"te')
    await appendFile(files.failures, '{"id":')
    await appendFile(files.journal, '{"kind":"started","id":"p2","worst_nano_usd":7}\n{"ki')
    const rest = sending(answered)
    const job = await open(files)
    expect(job.lost).toEqual({ prompts: 1, costNanoUsd: 7 })
    expect(await run(job, rest)).toEqual({ kind: 'finished' })
    expect(rest.sent).toEqual(['p2'])
    expect(await idsIn(files.output)).toEqual(['p1', 'p2'])
    expect(await idsIn(files.failures)).toEqual(['p0'])
    expect((await recordsIn(files.journal)).map(({ kind }) => kind)).toEqual([
      'job',
      'run',
      'started',
      'started',
      'started',
      'run',
      'lost',
      'started',
    ])
  })
})

describe('files that are not its own', () => {
  it('are not touched: an output without a journal', async () => {
    const files = await place(1)
    await writeFile(files.output, 'precious')
    const { kind, message } = await problemOf(open(files))
    expect([kind, message]).toEqual([
      'input',
      `${files.output}: is there already, and ${files.journal} is not: name another output, or remove it`,
    ])
    expect(await readFile(files.output, 'utf8')).toBe('precious')
  })

  it('are not touched: the input as the output, under whatever name', async () => {
    const files = await place(1)
    await symlink(files.input, files.output)
    expect((await problemOf(open(files))).message).toContain('is the input too')
  })

  it('are refused: those of an input that has changed', async () => {
    const files = await place(2)
    await run(await open(files), sending(answered))
    await appendFile(files.input, promptLine('new'))
    const { kind, message } = await problemOf(open(files))
    expect(kind).toBe('input')
    expect(message).toContain('is not what')
  })

  it('are refused: an output that somebody has written to', async () => {
    const files = await place(2)
    await run(await open(files), sending(answered))
    await appendFile(files.output, '{"id":"p0","response":{},"cost_usd":0}\n')
    expect((await problemOf(open(files))).message).toBe(
      `${files.output}:3: is not of this job: put the file back as it was, or name another output`,
    )
  })

  it('are refused: those that another run is writing', async () => {
    const files = await place(2)
    const first = await open(files)
    const { kind, message } = await problemOf(open(files))
    expect([kind, message]).toEqual([
      'run',
      `${files.output}: another run (process ${process.pid}) is writing it: wait for it, or stop it`,
    ])
    await first[Symbol.asyncDispose]()
    expect(await run(await open(files), sending(answered))).toEqual({ kind: 'finished' })
  })

  it('leaves none behind when the input is bad', async () => {
    const files = await place(1)
    await appendFile(files.input, 'nonsense\n')
    await problemOf(open(files))
    await expect(readFile(files.journal)).rejects.toThrow('ENOENT')
  })
})
