// The running emulator: what all endpoints share. Owns: its state and its start anew.
// Must not know: endpoints.
import type { Clock } from '../core/clock.ts'
import { EmulatedProvider } from './emulated-provider.ts'
import { FaultPlan } from './faults.ts'
import type { EmulatorSettings } from './settings.ts'

/** A batch as the provider shows it. Emulated ones are never processed. */
export interface Batch {
  readonly id: string
  readonly organization: string
  readonly requestCount: number
  readonly createdAt: number
}

const ID_ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const ID_LENGTH = 22

export class World {
  readonly settings: EmulatorSettings
  readonly clock: Clock
  readonly random: () => number
  provider: EmulatedProvider
  faults: FaultPlan
  batches: Batch[]

  constructor(settings: EmulatorSettings, clock: Clock, random: () => number) {
    this.settings = settings
    this.clock = clock
    this.random = random
    this.provider = new EmulatedProvider(settings, clock, random)
    this.faults = new FaultPlan(settings.faults, clock, random)
    this.batches = []
  }

  /** Full buckets, empty caches, an empty report, the faults of the settings. */
  reset(): void {
    this.provider = new EmulatedProvider(this.settings, this.clock, this.random)
    this.faults = new FaultPlan(this.settings.faults, this.clock, this.random)
    this.batches = []
  }

  /** The random part of an id. */
  newId(): string {
    let id = ''
    for (let index = 0; index < ID_LENGTH; index++) {
      id += ID_ALPHABET[Math.floor(this.random() * ID_ALPHABET.length)]
    }
    return id
  }
}
