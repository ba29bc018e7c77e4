import { expect, it } from 'vitest'
import { VirtualClock } from '../../core/clock.ts'
import { Purse } from '../purse.ts'
import type { Outcome } from './entry.ts'
import { PromptTask } from './prompt-task.ts'
import { Settlement } from './settlement.ts'

const WORST = 1000

function opened() {
  const purse = new Purse(100 * WORST)
  const written: number[] = []
  const warnings: string[] = []
  const settlement = new Settlement({
    clock: new VirtualClock(),
    random: () => 0,
    purse,
    spending: { failedAttempt: async ({ costNanoUsd }) => void written.push(costNanoUsd) },
    onEvent: (event) => event.kind === 'warned' && warnings.push(event.sentence),
  })
  /** As if it were put into the queue. */
  const put = (task: PromptTask): void => {
    purse.setAside(WORST)
    task.riskNanoUsd = WORST
  }
  const task = new PromptTask({ id: 'a', index: 0, takenAt: 0 })
  const params = { model: 'm', max_tokens: 1, messages: [] }
  task.known = { payload: { id: 'a', params }, worstNanoUsd: WORST, problem: null, bytes: 0 }
  put(task)
  return { purse, written, warnings, settlement, task, put }
}

const failed = (more: Partial<Extract<Outcome, { kind: 'failed' }>>): Outcome => ({
  kind: 'failed',
  error: { status: null, type: 'upstream_broken', message: 'It broke.', isRetryable: true },
  retryAfterMs: null,
  attempts: 1,
  tokens: null,
  costNanoUsd: 0,
  ...more,
})

it('counts the most where a worker does not know the price', async () => {
  const { purse, settlement, task } = opened()
  const answer = { response: {}, attempts: 1, tokens: null, costNanoUsd: null }
  const result = await settlement.settle(task, { kind: 'answered', ...answer })
  expect(result).toMatchObject({ kind: 'answered', costNanoUsd: WORST })
  expect(purse.spent).toBe(WORST)
  expect(purse.hasSetAside).toBe(false)
})

it('has a prompt sent again three times, and writes down first what each may have cost', async () => {
  const { purse, written, settlement, task, put } = opened()
  for (let retry = 1; retry <= 3; retry++) {
    expect(await settlement.settle(task, failed({ costNanoUsd: WORST }))).toBeNull()
    expect(written).toHaveLength(retry)
    put(task)
  }
  const result = await settlement.settle(task, failed({ costNanoUsd: WORST }))
  expect(result).toMatchObject({ kind: 'failed', attempts: 4, costNanoUsd: 4 * WORST })
  expect(purse.spent).toBe(4 * WORST)
})

it('does not send again what fails for good', async () => {
  const { written, settlement, task } = opened()
  const error = { status: 400, type: 'invalid_request_error', message: 'no', isRetryable: false }
  expect(await settlement.settle(task, failed({ error }))).toMatchObject({ error })
  expect(written).toEqual([])
})

it('gives up a prompt that three workers were lost with', async () => {
  const { settlement, task, put } = opened()
  for (let lost = 1; lost <= 2; lost++) {
    task.isBegun = true
    expect(await settlement.settle(task, null)).toBeNull()
    put(task)
  }
  const result = await settlement.settle(task, null)
  expect(result).toMatchObject({ error: { type: 'worker_lost' }, costNanoUsd: 3 * WORST })
})

it('never gives up one that no worker was seen to begin, and pays for it all the same', async () => {
  const { purse, settlement, task, put } = opened()
  for (let lost = 1; lost <= 10; lost++) {
    expect(await settlement.settle(task, null)).toBeNull()
    put(task)
  }
  expect(purse.spent).toBe(10 * WORST)
})

it('pays nothing for what a worker hands back, and says once why it does', async () => {
  const { purse, warnings, settlement, task, put } = opened()
  for (const why of ['no key', 'no key', null]) {
    expect(await settlement.settle(task, { kind: 'returned', why })).toBeNull()
    put(task)
  }
  settlement.giveBack(task)
  expect(purse.spent).toBe(0)
  expect(purse.hasSetAside).toBe(false)
  expect(warnings).toHaveLength(1)
  expect(settlement.leftOpen(task)).toBeNull()
})

it('leaves open what was sent, and cannot be sent again', async () => {
  const { settlement, task } = opened()
  task.isBegun = true
  await settlement.settle(task, null)
  expect(settlement.leftOpen(task)).toMatchObject({
    error: { type: 'stopped' },
    costNanoUsd: WORST,
  })
})
