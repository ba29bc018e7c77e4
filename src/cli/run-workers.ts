// headgate run --workers: has a job's prompts sent by workers. Owns: what such a run needs and may not be
// told, and opening what leads to the workers. Must not know: files, or how workers send.
import { realpath } from 'node:fs/promises'
import { hostname } from 'node:os'
import type { Clock } from '../core/clock.ts'
import type { FleetEvent } from '../fleet/events.ts'
import type { MessageParams } from '../fleet/payload.ts'
import type { PriceTag } from '../fleet/price-tag.ts'
import { Purse } from '../fleet/purse.ts'
import { hadWorkers, jobKeyOf } from '../fleet/workers/job-key.ts'
import { PromptQueue } from '../fleet/workers/prompt-queue.ts'
import { WorkersSender } from '../fleet/workers/workers-sender.ts'
import { ConfigError } from '../policy/problem.ts'
import type { Settings } from '../policy/settings.ts'
import type { RedisStoreAddress } from '../policy/store-address.ts'
import { lookAt, StoreSetupError } from '../stores/redis/server-check.ts'
import type { RunFlags } from './run-flags.ts'
import type { JobFleet } from './run-fleet.ts'
import { countOf } from './terminal/words.ts'

export interface JobWorkersOptions {
  readonly settings: Settings
  readonly flags: RunFlags
  /** Nano-dollars that may be spent from now on; null where nothing bounds them. */
  readonly moneyLeft: number | null
  readonly clock: Clock
  readonly random: () => number
  readonly journalPath: string
  /** Prompts that an earlier run has put into batches. */
  readonly inBatches: number
  readonly tagOf: (params: MessageParams) => PriceTag
  /** Whether the prompt of that id has no outcome on the disk. */
  readonly isOpen: (id: string) => boolean
  readonly isFinished: () => boolean
  readonly warned: (sentence: string) => void
  readonly onEvent: (event: FleetEvent) => void
}

/** @throws ConfigError where the store is one that nobody shares */
export function sharedStore({ store }: Settings, flag: string): RedisStoreAddress {
  if (store.kind !== 'memory') return store
  throw new ConfigError([`${flag}: needs a store that machines share: write --store redis://…`])
}

/** @throws ConfigError for a store that nobody shares, and for flags that only a worker can follow */
export function checkWorkers({ lane, longWindows, within }: RunFlags, settings: Settings): void {
  sharedStore(settings, '--workers')
  const problems: string[] = []
  if (lane !== 'low') problems.push('--lane: is for those who send: give it to the workers')
  if (longWindows !== 'wait')
    problems.push('--long-windows: workers always wait: leave it out with --workers')
  if (within !== undefined)
    problems.push('--within: workers send no batches: leave it out with --workers')
  if (problems.length > 0) throw new ConfigError(problems)
}

/**
 * @throws ConfigError where prompts are in batches: these need a key to be fetched with
 * @throws StoreSetupError where the store is not what it should be, or is not there
 */
export async function openJobWorkers(options: JobWorkersOptions): Promise<JobFleet> {
  const { settings, flags, moneyLeft, clock, journalPath, inBatches, warned, ...rest } = options
  if (inBatches > 0) throw new ConfigError([inBatchesOf(inBatches)])
  const address = sharedStore(settings, '--workers')
  const look = await lookAt(address)
  if (look.kind === 'unreachable')
    throw new StoreSetupError(`the store ${address.shown} ${look.why}`)
  const failed = connectionTrouble(address, warned)
  const queue = await PromptQueue.open({ address, clock, failed })
  const { maxInFlight, maxSpendUsd } = flags
  const sender = new WorkersSender({
    ...rest,
    queue,
    clock,
    purse: new Purse(moneyLeft ?? Number.POSITIVE_INFINITY),
    maxSpendUsd: maxSpendUsd ?? Number.POSITIVE_INFINITY,
    maxInFlight: maxInFlight === 'auto' ? Number.POSITIVE_INFINITY : maxInFlight,
    jobKey: () => jobKeyOf(journalPath),
    place: `${hostname()}:${await realpath(journalPath)}`,
  })
  return {
    sender,
    waitsFor: async () => (sender.waitsForWorkers ? { what: 'a worker', until: null } : null),
    close: () => sender.close(),
  }
}

function inBatchesOf(prompts: number): string {
  const are = prompts === 1 ? 'is in a batch' : 'are in batches'
  return `--workers: ${countOf(prompts, 'prompt')} ${are} of the provider's: run this without --workers until they are answered`
}

/** What is to be said where a run goes on without workers that an earlier one had; null: nothing. */
export async function leftWithWorkers(
  journalPath: string,
  lost: { readonly prompts: number },
): Promise<string | null> {
  if (lost.prompts === 0 || !(await hadWorkers(journalPath))) return null
  return `${countOf(lost.prompts, 'prompt')} may be with workers, and answered there: without --workers they are sent and paid for again`
}

/** Says nothing to people, and makes a kind of trouble many. */
const ENTRY_NAME = /\bp[0-9a-f]{16}-[0-9a-f]{8}-\d+\b/g

/** Tells of each kind of trouble once: the connection is tried again and again. */
export function connectionTrouble(
  { shown }: RedisStoreAddress,
  warned: (sentence: string) => void,
): (error: unknown) => void {
  let last = ''
  return (error) => {
    const message = error instanceof Error ? error.message : String(error)
    const why = message.replace(ENTRY_NAME, 'a prompt')
    if (why !== last) warned(`the store ${shown}: ${why}`)
    last = why
  }
}
