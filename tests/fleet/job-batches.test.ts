// A job in a file whose prompts go as batches, killed while the provider has no room for the next one: on virtual
// time, up to the emulator.
import { readFile, rm, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, expect, it } from 'vitest'
import type { FleetBatches } from '../../src/fleet/batch/batch-record.ts'
import type { PlacedPayload } from '../../src/fleet/batch/draft.ts'
import type { PromptSender } from '../../src/fleet/job/job.ts'
import type { Payload } from '../../src/fleet/payload.ts'
import { answered, FileJob, NEVER, WORST } from './file-job.ts'
import { closeEmulators, open, payload, refusal } from './virtual-batches.ts'

const root = await FileJob.root('job-batches')
afterAll(() => rm(root, { recursive: true }))
afterEach(closeEmulators)

const REFUSALS = 5

type World = Awaited<ReturnType<typeof open>>

/** Sends all that a job has in batches. */
function inBatches(world: World): PromptSender {
  return {
    dispatch: (payloads, { batches, signal }) =>
      world.dispatch(placed(payloads, batches), { ...batches, signal }),
  }
}

async function* placed(
  payloads: AsyncIterable<Payload>,
  { journal }: FleetBatches,
): AsyncGenerator<PlacedPayload> {
  let index = 0
  for await (const { id } of payloads) {
    const next = { ...payload(index++, '', id), worstNanoUsd: WORST }
    await journal.joined?.(next)
    yield next
  }
}

/** What is left of a job of four prompts in two batches, when the second is refused for the fifth time. */
async function killedWhileRefused(world: World): Promise<FileJob> {
  const job = await FileJob.create(root, 4)
  const kill = new AbortController()
  const killed: FileJob[] = []
  let creations = 0
  world.meet((method) => {
    if (method !== 'POST' || ++creations === 1) return null
    if (creations <= REFUSALS) return refusal(429, 'rate_limit_error')
    return job.copy(root).then((copy) => {
      killed.push(copy)
      kill.abort()
      return refusal(429, 'rate_limit_error')
    })
  })
  await using running = await job.open()
  await world.settled(running.run(inBatches(world), { stop: NEVER, abort: kill.signal }))
  world.meet(() => null)
  const [left] = killed
  if (!left) throw new Error('it was not killed')
  return left
}

async function entriesOf(job: FileJob): Promise<readonly string[]> {
  const text = await readFile(job.file('answers.jsonl.journal'), 'utf8')
  return text.split('\n').filter((line) => line.includes('"batch'))
}

async function expectEachAnsweredOnce(job: FileJob, world: World): Promise<void> {
  await using again = await job.open()
  const end = await world.settled(again.run(inBatches(world), { stop: NEVER, abort: NEVER }))
  expect(end).toEqual({ kind: 'finished' })
  expect((await job.idsIn('answers.jsonl')).toSorted()).toEqual(['p0', 'p1', 'p2', 'p3'])
  expect(await job.idsIn('answers.failures.jsonl')).toEqual([])
  expect(world.emulator.report().totals.batchRequests).toBe(4)
}

it('writes the prompts of a batch down once, however often it is tried', async () => {
  const world = await open({}, { requests: 2 })
  const entries = await entriesOf(await killedWhileRefused(world))
  const kinds = entries.map((line) => /"kind":"(\w+)"/.exec(line)?.[1])
  expect(kinds.filter((kind) => kind === 'batch')).toHaveLength(2)
  expect(kinds.filter((kind) => kind === 'batch_again')).toHaveLength(REFUSALS - 1)
})

it('sends what the provider had no room for', async () => {
  const world = await open({}, { requests: 2 })
  const job = await killedWhileRefused(world)
  // Killed between two tries: what is noted last is the refusal.
  const text = await readFile(job.file('answers.jsonl.journal'), 'utf8')
  const lastTry = text.lastIndexOf('{"kind":"batch_again"')
  await writeFile(job.file('answers.jsonl.journal'), text.slice(0, lastTry))
  await expectEachAnsweredOnce(job, world)
})

it('sends what may not have come about, although a batch of its size has ended since', async () => {
  const world = await open({}, { requests: 2 })
  await expectEachAnsweredOnce(await killedWhileRefused(world), world)
})

it('sends nothing alone whose answer has come from a batch, but is not on the disk yet', async () => {
  const job = await FileJob.create(root, 2)
  const left = async (payloads: AsyncIterable<Payload>, { journal }: FleetBatches) => {
    const places: PlacedPayload[] = []
    for await (const next of placed(payloads, { journal })) places.push(next)
    const batch = { name: 'hg_one', payloads: places, size: 2, sentAt: 1 }
    await journal.submitting({ ...batch, batchId: null })
    await journal.submitted({ ...batch, batchId: 'msgbatch_1' })
  }
  await job.run(
    undefined,
    {},
    {
      async *dispatch(payloads, { batches }) {
        await left(payloads, batches)
        yield* []
      },
    },
  )
  const alone: string[] = []
  await job.run(
    undefined,
    {},
    {
      async *dispatch(payloads, { batches }) {
        for (const batch of batches.pending ?? [])
          for (const { id } of batch.payloads) yield answered(id, 1)
        for await (const { id } of payloads) alone.push(id)
      },
    },
  )
  expect(alone).toEqual([])
  expect((await job.idsIn('answers.jsonl')).toSorted()).toEqual(['p0', 'p1'])
})

it('tells what went to the provider from what only waited for its batch', async () => {
  const job = await FileJob.create(root, 4)
  await using running = await job.open()
  const counts: [number, number][] = []
  const count = (): number => counts.push([running.inBatches, running.inSentBatches])
  await running.run(
    {
      async *dispatch(payloads, { batches: { journal } }) {
        const places: PlacedPayload[] = []
        for await (const next of placed(payloads, { journal })) places.push(next)
        const batch = { name: 'hg_one', payloads: places.slice(0, 3), size: 3, sentAt: 1 }
        const pending = { ...batch, batchId: null }
        count()
        await journal.submitting(pending)
        count()
        await journal.refused?.(pending)
        count()
        await journal.submitting(pending)
        await journal.submitted({ ...batch, batchId: 'msgbatch_1' })
        yield { ...answered('p0', 1), via: 'batch' }
        count()
      },
    },
    { stop: NEVER, abort: NEVER },
  )
  expect(counts).toEqual([
    [4, 0],
    [4, 3],
    [4, 0],
    [3, 2],
  ])
  await running[Symbol.asyncDispose]()
  await using again = await job.open()
  expect([again.inBatches, again.inSentBatches]).toEqual([2, 2])
})
