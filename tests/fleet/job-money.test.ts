// What a job says that it has cost, over kills at any moment, against what the provider has billed.
import { readFile, rm } from 'node:fs/promises'
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { VirtualClock } from '../../src/core/clock.ts'
import {
  BatchOutOfReach,
  type FleetBatches,
  type PendingBatch,
} from '../../src/fleet/batch/batch-record.ts'
import type { Place } from '../../src/fleet/batch/draft.ts'
import type { Job, PromptSender } from '../../src/fleet/job/job.ts'
import type { FleetResult, Payload } from '../../src/fleet/payload.ts'
import { answered, FileJob, failed, WORST } from './file-job.ts'

const root = await FileJob.root('job-money')
afterAll(() => rm(root, { recursive: true }))

type Spending = Parameters<PromptSender['dispatch']>[1]['spending']

const PROMPTS = 2
const FAILURES = 'answers.failures.jsonl'
/** What the provider bills for an answer in a batch. */
const BATCHED = 300
/** What a group of outcomes waits for others. */
const GROUP_MS = 50

/** A step of whoever sends prompts, with one of those that it can be done with. */
interface Step {
  readonly what:
    | 'take'
    | 'send'
    | 'break'
    | 'note'
    | 'answer'
    | 'fail'
    | 'wait'
    | 'join'
    | 'batch'
    | 'inherit'
    | 'refuse'
  readonly which: number
  /** What the provider bills for a sending, and how much more of its worst is counted. */
  readonly billed: number
  readonly more: number
}

interface Life {
  readonly steps: readonly Step[]
  readonly end: 'kill' | 'stop' | 'abort' | 'shut out' | 'out of reach' | 'finish'
  readonly retriesFailed: boolean
}

const step = fc.record({
  what: fc.constantFrom<Step['what'][]>(
    'take',
    'take',
    'send',
    'send',
    'break',
    'note',
    'answer',
    'fail',
    'wait',
    'join',
    'batch',
    'batch',
    'inherit',
    'refuse',
  ),
  which: fc.nat(PROMPTS),
  billed: fc.oneof(fc.constant(WORST), fc.integer({ min: 0, max: WORST })),
  more: fc.nat(WORST),
})

const life = (end: fc.Arbitrary<Life['end']>): fc.Arbitrary<Life> =>
  fc.record({
    steps: fc.array(step, { maxLength: 14, size: 'max' }),
    end,
    retriesFailed: fc.boolean(),
  })

/** What the provider has billed for what went alone, and what was counted for all when it ended: not less. */
class Bill {
  billed = 0
  counted = 0
}

interface Task {
  readonly id: string
  /** Counted for the sendings that have ended. */
  cost: number
  wasSent: boolean
  /** Of the sending that is under way. */
  underWay: number | null
  /** Of one that has failed, until the journal has it. */
  unnoted: number
}

/** Does as a life says, up to its end. */
class Sender implements PromptSender {
  readonly #life: Life
  readonly #bill: Bill
  readonly #ended: () => Promise<void>
  readonly #waited: () => Promise<void>
  #tasks: Task[] = []
  #joined: Place[] = []
  /** With those of their prompts that have no answer. */
  #batches: { readonly batch: PendingBatch; readonly left: Place[] }[] = []

  constructor(
    life: Life,
    bill: Bill,
    { waited, ended }: { waited: () => Promise<void>; ended: () => Promise<void> },
  ) {
    this.#life = life
    this.#bill = bill
    this.#ended = ended
    this.#waited = waited
  }

  async *dispatch(
    payloads: AsyncIterable<Payload>,
    { spending, batches, signal }: Parameters<PromptSender['dispatch']>[1],
  ): AsyncGenerator<FleetResult> {
    const source = payloads[Symbol.asyncIterator]()
    for (const batch of batches.pending ?? [])
      this.#batches.push({ batch, left: [...batch.payloads] })
    const note = async (task: Task): Promise<void> => {
      const { id, unnoted: costNanoUsd } = task
      if (costNanoUsd > 0) await spending.failedAttempt({ id, costNanoUsd })
      task.unnoted = 0
    }
    for (const step of this.#life.steps) {
      if (step.what === 'take') await this.#takeFrom(source, spending)
      else if (step.what === 'wait') await this.#waited()
      else if (step.what === 'join') await this.#join(source, batches)
      else if (step.what === 'batch') yield* this.#goOn(batches)
      else if (step.what === 'inherit' || step.what === 'refuse') yield* this.#endNext(source, step)
      else yield* this.#do(step, note)
    }
    await this.#ended()
    signal.throwIfAborted()
    yield* this.#finish()
    if (this.#life.end === 'out of reach') throw new BatchOutOfReach('msgbatch_1', FORBIDDEN)
    if (this.#life.end !== 'finish') return
    while (this.#joined.length + this.#batches.length > 0) yield* this.#goOn(batches)
    for (let next = await source.next(); !next.done; next = await source.next()) {
      await spending.sending({ id: next.value.id, worstNanoUsd: WORST })
      this.#tasks = [taskOf(next.value)]
      yield* this.#finish()
    }
  }

  async #takeFrom(source: AsyncIterator<Payload>, spending: Spending): Promise<void> {
    const next = await source.next()
    if (next.done) return
    await spending.sending({ id: next.value.id, worstNanoUsd: WORST })
    this.#tasks.push(taskOf(next.value))
  }

  async #join(source: AsyncIterator<Payload>, { journal }: FleetBatches): Promise<void> {
    const next = await source.next()
    if (next.done) return
    const place = { id: next.value.id, index: 0 }
    await journal.joined?.(place)
    this.#joined.push(place)
  }

  /** What has joined is submitted; or else a batch has one more answer, and is forgotten after its last. */
  async *#goOn({ journal }: FleetBatches): AsyncGenerator<FleetResult> {
    const [first] = this.#joined
    if (first) {
      const payloads = this.#joined
      this.#joined = []
      const batch = { name: `hg_${first.id}`, payloads, size: payloads.length, sentAt: 1 }
      await journal.submitting({ ...batch, batchId: null })
      await journal.submitted({ ...batch, batchId: 'msgbatch_1' })
      this.#batches.push({ batch: { ...batch, batchId: 'msgbatch_1' }, left: [...payloads] })
      return
    }
    const [under] = this.#batches
    const place = under?.left.shift()
    if (place) {
      this.#bill.counted += BATCHED
      yield { ...answered(place.id, BATCHED), via: 'batch' }
    }
    if (!under || under.left.length > 0) return
    this.#batches.shift()
    await journal.ended(under.batch)
  }

  /** One whose end is known although it was not sent: its answer is of a former run's sending, or it can't be sent. */
  async *#endNext(
    source: AsyncIterator<Payload>,
    { what, more }: Step,
  ): AsyncGenerator<FleetResult> {
    const next = await source.next()
    if (next.done) return
    const { id } = next.value
    if (what === 'refuse') return yield failed(id, 0, 'price_unknown')
    this.#bill.counted += more
    yield answered(id, more)
  }

  async *#do(
    { what, which, billed, more }: Step,
    note: (task: Task) => Promise<void>,
  ): AsyncGenerator<FleetResult> {
    const isSend = what === 'send' || what === 'note'
    const fitting = this.#tasks.filter(({ underWay, unnoted }) =>
      isSend ? underWay === null && (what === 'send' || unnoted > 0) : underWay !== null,
    )
    const task = fitting[which % Math.max(1, fitting.length)]
    if (!task) return
    if (isSend) {
      await note(task)
      if (what === 'send') this.#send(task, billed, more)
      return
    }
    const cost = this.#receive(task)
    if (what === 'break') task.unnoted = cost
    else yield this.#end(task, what === 'answer' ? answered : failed)
  }

  #send(task: Task, billed: number, more: number): void {
    task.wasSent = true
    task.underWay = Math.min(WORST, billed + more)
    this.#bill.billed += billed
  }

  #receive(task: Task): number {
    const cost = task.underWay ?? 0
    task.underWay = null
    task.cost += cost
    this.#bill.counted += cost
    return cost
  }

  #end(task: Task, result: typeof answered | typeof failed): FleetResult {
    this.#tasks = this.#tasks.filter((other) => other !== task)
    return result(task.id, task.cost)
  }

  /** What is under way is waited for; what was sent and is not to be sent again has failed. */
  *#finish(): Generator<FleetResult> {
    for (const task of [...this.#tasks]) {
      const isFinishing = this.#life.end === 'finish'
      if (isFinishing && task.underWay === null) this.#send(task, 7, 0)
      const isAnswered = task.underWay !== null
      this.#receive(task)
      if (isAnswered && this.#life.end === 'shut out')
        yield { ...failed(task.id, task.cost), error: EXPIRED }
      else if (isAnswered) yield this.#end(task, answered)
      else if (task.wasSent) yield failed(task.id, task.cost, 'stopped')
    }
  }
}

const FORBIDDEN = { status: 403, type: 'permission_error', message: 'no', isRetryable: false }

const EXPIRED = { status: 401, type: 'authentication_error', message: 'no', isRetryable: false }

const taskOf = ({ id }: Payload): Task => ({
  id,
  cost: 0,
  wasSent: false,
  underWay: null,
  unnoted: 0,
})

/** Lives one life. Returns the job's files as it leaves them, and what it says in the end. */
async function live(
  files: FileJob,
  life: Life,
  bill: Bill,
): Promise<{ readonly left: FileJob; readonly spent: number }> {
  const { end, retriesFailed } = life
  const clock = new VirtualClock()
  const [stop, abort] = [new AbortController(), new AbortController()]
  let left = files
  await using job = await files.open('answers.jsonl', { clock, retriesFailed })
  const sender = new Sender(life, bill, {
    waited: () => allKept(job, clock),
    ended: async () => {
      if (end === 'kill') left = await files.copy(root)
      if (end === 'kill' || end === 'abort') abort.abort()
      if (end === 'stop') stop.abort()
    },
  })
  await job.run(sender, { stop: stop.signal, abort: abort.signal })
  return { left, spent: job.spentNanoUsd }
}

/** Lets time pass until what was handed over is on the disk. */
async function allKept(job: Job, clock: VirtualClock): Promise<void> {
  const count = (): number => job.standing.answered + job.standing.failed
  const before = count()
  if (!clock.step()) return
  clock.advanceTo(clock.now() + GROUP_MS)
  while (count() === before) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** Nano-dollars of all answers in batches that are kept: before that their batch is pending, and says it again. */
async function batchedIn(files: FileJob): Promise<number> {
  const text = await readFile(files.file('answers.jsonl'), 'utf8')
  return BATCHED * (text.split('"via":"batch"').length - 1)
}

/** Nano-dollars that the job's files tell of. */
async function spentIn(files: FileJob): Promise<number> {
  await using job = await files.open()
  return job.spentNanoUsd
}

it('is never less than the bill, whatever is killed and when', { timeout: 120_000 }, async () => {
  const anyEnd = fc.constantFrom<Life['end'][]>(
    'kill',
    'kill',
    'stop',
    'abort',
    'shut out',
    'out of reach',
  )
  const lives = fc.array(life(anyEnd), { minLength: 1, maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(lives, life(fc.constant('finish')), async (killed, last) => {
      let files = await FileJob.create(root, PROMPTS)
      const bill = new Bill()
      for (const one of [...killed, last]) {
        const { left, spent: said } = await live(files, one, bill)
        files = left
        const spent = await spentIn(files)
        expect(spent).toBeGreaterThanOrEqual(bill.billed + (await batchedIn(files)))
        // Who has killed it hears nothing of it any more.
        if (one.end !== 'kill') expect(said).toBe(spent)
        expect(await spentIn(files)).toBe(spent)
      }
      const kept = [...(await files.idsIn('answers.jsonl')), ...(await files.idsIn(FAILURES))]
      expect(kept.toSorted()).toEqual(['p0', 'p1'])
    }),
    { numRuns: 50 },
  )
})

it('is what was counted where nothing was killed', { timeout: 120_000 }, async () => {
  const anyEnd = fc.constantFrom<Life['end'][]>('stop', 'shut out', 'out of reach')
  const lives = fc.array(life(anyEnd), { maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(lives, life(fc.constant('finish')), async (stopped, last) => {
      const files = await FileJob.create(root, PROMPTS)
      const bill = new Bill()
      for (const one of [...stopped, last]) {
        const { spent } = await live(files, one, bill)
        expect(spent).toBe(bill.counted)
        expect(await spentIn(files)).toBe(bill.counted)
      }
    }),
    { numRuns: 20 },
  )
})
