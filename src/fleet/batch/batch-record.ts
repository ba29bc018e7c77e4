// What is told of batches: to the journal, that none is lost, and to whoever watches. Owns: these shapes. Must
// not know: how a batch is brought to its end.
import type { EpochMs } from '../../core/clock.ts'
import type { Failed } from '../payload.ts'
import type { BatchDocument } from './batch-api.ts'
import type { Place } from './draft.ts'

/** A batch that a former run of the job has left. */
export interface PendingBatch {
  /** Like no other batch's: the names of its requests begin with it. */
  readonly name: string
  /** Null: it was about to be created, and whether that happened is not known. */
  readonly batchId: string | null
  /** Of its payloads that have no result yet, or of all: what is told twice is up to the journal. */
  readonly payloads: readonly Place[]
  /** How many payloads it was created with. */
  readonly size: number
  /** When it was last about to be created. */
  readonly sentAt: EpochMs
}

/** What has to be remembered so that no batch is lost, whatever kills the program. Each is awaited. */
export interface BatchJournal {
  /** Before a batch is created, each time that it is tried. */
  submitting(batch: PendingBatch): Promise<void>
  /** The provider has no room for it: until it is tried again it does not exist, and is not pending. */
  refused?(batch: PendingBatch): Promise<void>
  /** It exists. */
  submitted(batch: PendingBatch & { readonly batchId: string }): Promise<void>
  /** Every one of its payloads has had its result, and whoever took the results has asked for more. */
  ended(batch: PendingBatch): Promise<void>
}

/** Where a job remembers its batches, and what earlier runs of it have left. */
export interface FleetBatches {
  readonly journal: BatchJournal & {
    /** A payload waits to go with the next batch: it will not be sent alone. */
    joined?(place: Place): Promise<void>
  }
  /** Their results come with those of the job. */
  readonly pending?: readonly PendingBatch[]
}

export type BatchEvent =
  | { readonly kind: 'batch_submitted'; readonly batchId: string; readonly payloads: number }
  | {
      readonly kind: 'batch_ended'
      readonly batchId: string
      readonly counts: BatchDocument['request_counts']
      /** Since it was created. */
      readonly tookMs: number
    }
  /** A step did not succeed, and is tried again. */
  | {
      readonly kind: 'batch_delayed'
      readonly batchId: string | null
      readonly error: Failed['error']
      /** In milliseconds since the epoch. */
      readonly retryAt: EpochMs
    }

/** The provider does not let anybody look at a batch: its payloads stay pending. */
export class BatchOutOfReach extends Error {
  readonly code = 'batch_out_of_reach'
  /** Null where it is not known whether it exists. */
  readonly batchId: string | null
  readonly status: number | null

  constructor(batchId: string | null, { status, message }: Failed['error']) {
    super(`The provider does not tell of ${batchId ?? 'batches'}: ${message}`)
    this.name = 'BatchOutOfReach'
    this.batchId = batchId
    this.status = status
  }
}
