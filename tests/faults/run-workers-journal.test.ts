// What workers are not given: what the run's journal does not have, and what its money does not allow. Must not know: how
// prompts travel.
import { expect, it, onTestFinished, vi } from 'vitest'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { FleetResult } from '../../src/fleet/payload.ts'
import { Purse } from '../../src/fleet/purse.ts'
import type { SpendingJournal } from '../../src/fleet/spending-journal.ts'
import { namesOf } from '../../src/fleet/workers/entry.ts'
import { PromptQueue } from '../../src/fleet/workers/prompt-queue.ts'
import { WorkersSender } from '../../src/fleet/workers/workers-sender.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { until } from '../servers/until.ts'

const JOB_KEY = 'a-job-of-few-prompts'
/** So few that all of them wait for a worker at once. */
const PROMPTS = 20
const WORST = 10
const TAG = {
  limitGroup: 'm',
  worstNanoUsd: WORST,
  worstInBatchNanoUsd: WORST,
  isBounded: true,
  pricePercent: 100,
}

async function opened() {
  const { url } = await sharedRedis()
  const parsed = parseStoreAddress(`${url}?prefix=${freshPrefix()}`)
  if (parsed.kind !== 'parsed' || parsed.value.kind === 'memory') throw new Error('it is a Redis')
  const clock = realClock()
  const failed = (error: unknown): void => expect.fail(String(error))
  const queue = await PromptQueue.open({ address: parsed.value, clock, failed })
  const purse = new Purse(1000 * WORST)
  const common = {
    queue,
    clock,
    random: seededRandom(1),
    onEvent: () => {},
    maxSpendUsd: 1,
    maxInFlight: Number.POSITIVE_INFINITY,
    jobKey: async () => JOB_KEY,
    place: 'here',
    isOpen: () => true,
    isFinished: () => false,
  }
  const sender = new WorkersSender({ ...common, purse, tagOf: () => TAG })
  onTestFinished(() => sender.close())
  /** Of a job whose prompts have no bound, and which had none when it was begun. */
  const unbounded = (most: number): WorkersSender =>
    new WorkersSender({
      ...common,
      purse: new Purse(most),
      tagOf: () => ({ ...TAG, isBounded: false }),
    })
  return { purse, sender, unbounded, queue, put: vi.spyOn(queue, 'put') }
}

async function* payloads() {
  for (let index = 0; index < PROMPTS; index++)
    yield { id: `p${index}`, params: { model: 'm', max_tokens: 1, messages: [] } }
}

async function dispatched(
  sender: WorkersSender,
  signals: { readonly stop: AbortSignal; readonly signal: AbortSignal },
  sending: Required<SpendingJournal>['sending'],
): Promise<FleetResult[]> {
  const spending = { sending, failedAttempt: async () => {} }
  const results: FleetResult[] = []
  for await (const result of sender.dispatch(payloads(), { ...signals, spending }))
    results.push(result)
  return results
}

it('gives workers no prompt that the journal does not have', async () => {
  const { purse, sender, queue, put } = await opened()
  const stop = new AbortController()
  let notes = 0
  // A note that fails ends the run, and does not throw.
  const results = await dispatched(
    sender,
    { stop: stop.signal, signal: new AbortController().signal },
    async () => {
      if (++notes === 3) stop.abort()
    },
  )
  expect(notes).toBe(3)
  expect(results).toEqual([])
  expect(put).not.toHaveBeenCalled()
  expect(purse.hasSetAside).toBe(false)
  expect(await queue.find(namesOf(JOB_KEY))).toEqual([])
})

it('gives them nothing more once nobody waits', async () => {
  const { sender, queue, put } = await opened()
  const over = new AbortController()
  const [begun, noted] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const results = dispatched(sender, { stop: over.signal, signal: over.signal }, () => {
    begun.resolve()
    return noted.promise
  })
  await begun.promise
  over.abort(new Error('enough'))
  await expect(results).rejects.toThrow('enough')
  noted.resolve()
  await new Promise(setImmediate)
  expect(put).not.toHaveBeenCalled()
  expect(await queue.find(namesOf(JOB_KEY))).toEqual([])
})

it('sends nothing again that a sum of money does not allow, also of an earlier run', async () => {
  const { unbounded, queue, put } = await opened()
  const killed = new AbortController()
  const first = dispatched(
    unbounded(Number.POSITIVE_INFINITY),
    { stop: killed.signal, signal: killed.signal },
    async () => {},
  )
  await until('prompts wait', async () => (await queue.find(namesOf(JOB_KEY))).length === PROMPTS)
  killed.abort(new Error('killed'))
  await expect(first).rejects.toThrow('killed')
  put.mockClear()
  const never = new AbortController().signal
  const second = dispatched(unbounded(1e9), { stop: never, signal: never }, async () => {})
  // Once the run knows its prompts, Redis loses them.
  await until('the others cannot be sent', async () => put.mock.calls.length > 0)
  await queue.remove((await queue.find(namesOf(JOB_KEY))).map(({ name }) => name))
  const results = await second
  expect(results.length).toBe(PROMPTS)
  const types = results.map((result) => result.kind === 'failed' && result.error.type)
  expect(new Set(types)).toEqual(new Set(['cost_unbounded']))
  expect(put.mock.calls.flat(2)).toEqual([])
})
