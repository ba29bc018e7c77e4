// The running emulator: what all endpoints share. Owns: its state and its start anew.
// Must not know: endpoints.
import type { Clock } from '../core/clock.ts'
import { Batches } from './batches.ts'
import { EmulatedProvider } from './emulated-provider.ts'
import { FaultPlan } from './faults.ts'
import type { EmulatorSettings } from './settings.ts'

const ID_ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const ID_LENGTH = 22

export class World {
  readonly settings: EmulatorSettings
  readonly clock: Clock
  readonly random: () => number
  provider: EmulatedProvider
  faults: FaultPlan
  batches: Batches

  constructor(settings: EmulatorSettings, clock: Clock, random: () => number) {
    this.settings = settings
    this.clock = clock
    this.random = random
    this.provider = new EmulatedProvider(settings, clock, random)
    this.faults = new FaultPlan(settings.faults, clock, random)
    this.batches = new Batches(this)
  }

  /** Full buckets, empty caches, an empty report, no batches, the faults of the settings. */
  reset(): void {
    this.batches.close()
    this.provider = new EmulatedProvider(this.settings, this.clock, this.random)
    this.faults = new FaultPlan(this.settings.faults, this.clock, this.random)
    this.batches = new Batches(this)
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
