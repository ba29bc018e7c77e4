// Which run has a job, where two believe that they have it. Must not know: what a run does.
import { expect, it, onTestFinished } from 'vitest'
import { VirtualClock } from '../../src/core/clock.ts'
import { PromptQueue } from '../../src/fleet/workers/prompt-queue.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'

const NEVER = new AbortController().signal

async function opened() {
  const { url } = await sharedRedis()
  const parsed = parseStoreAddress(`${url}?prefix=${freshPrefix()}`)
  if (parsed.kind !== 'parsed' || parsed.value.kind === 'memory') throw new Error('it is a Redis')
  const clock = new VirtualClock(1000)
  const failed = (error: unknown): void => expect.fail(String(error))
  const queue = await PromptQueue.open({ address: parsed.value, clock, failed })
  onTestFinished(() => queue.close())
  return { queue, clock }
}

it('is the one that began last in a place, and the other is told, whatever the machines are called', async () => {
  const { queue, clock } = await opened()
  const [first, second] = ['one', 'two'].map((token) => queue.owner('a-job', token, 'app:/a.jsonl'))
  expect(await first?.take(NEVER, () => expect.fail('nobody has it'))).toBe(true)
  expect(await second?.take(NEVER, () => expect.fail('its lock was there'))).toBe(true)
  clock.advanceTo(5000)
  await expect(first?.keep()).rejects.toThrow('another run has this job: app:/a.jsonl')
  await second?.keep()
})
