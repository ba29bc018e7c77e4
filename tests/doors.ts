// The doors through which a provider is reached, each for one test: the same things have to be so behind
// all of them. Owns: opening them alike. Must not know: what any test proves.
import Anthropic from '@anthropic-ai/sdk'
import { statusOf } from '../src/control/status.ts'
import { realClock } from '../src/core/clock.ts'
import { seededRandom } from '../src/core/random.ts'
import { startEmulator } from '../src/emulator/emulator.ts'
import { type Engine, openEngine } from '../src/engine/engine.ts'
import { gatedFetch } from '../src/library/gated-fetch.ts'
import { putInside } from '../src/library/inside.ts'
import { OpenGate } from '../src/library/open-gate.ts'
import {
  type Happening,
  type Harness,
  type HarnessOptions,
  isOf,
  KEY,
  openHarness,
  recorderInto,
  settingsFor,
  until,
} from './harness.ts'

type Shared = 'clock' | 'happenings' | 'emulator' | 'client' | 'status' | 'idle' | 'of'

export interface Door extends Pick<Harness, Shared>, AsyncDisposable {
  /** What `fetch` aims at. */
  readonly url: string
  readonly fetch: typeof fetch
}

export interface LibraryDoor extends Door {
  readonly gate: OpenGate
  readonly engine: Engine
}

/** Each with its name. */
export const DOORS: readonly (readonly [string, (options?: HarnessOptions) => Promise<Door>])[] = [
  ['gateway', async (options) => Object.assign(await openHarness(options), { fetch })],
  ['gated fetch', openLibrary],
]

/** A gate in this process, and SDKs with its `fetch`, which aim at the upstream. */
export async function openLibrary(options: HarnessOptions = {}): Promise<LibraryDoor> {
  const clock = realClock(options.speed)
  const random = seededRandom(1)
  const { emulator: fake } = options
  const emulator =
    options.upstream === undefined
      ? await startEmulator({ clock, random, ...(fake && { settings: fake }) })
      : null
  const url = options.upstream ?? emulator?.url ?? ''
  const happenings: Happening[] = []
  const events = recorderInto(happenings)
  const { upstreamTimeouts } = options
  const engine = await openEngine({
    settings: settingsFor(options, url),
    clock,
    random,
    events,
    keepsBooks: false,
    ...(upstreamTimeouts && { upstreamTimeouts }),
  })
  const gate = new OpenGate({ engine, clock, failed: (error) => events.failed(error) })
  putInside(gate, gate)
  const gated = gatedFetch(gate)
  return {
    url,
    clock,
    happenings,
    gate,
    engine,
    fetch: gated,
    get emulator() {
      if (!emulator) throw new Error('this test runs its own upstream')
      return emulator
    },
    client: (more) =>
      new Anthropic({ baseURL: url, apiKey: KEY, maxRetries: 0, fetch: gated, ...more }),
    status: () => statusOf({ clock, store: engine.store }),
    idle: () => until(() => nothingIsLeft(engine)),
    of: (kind) => happenings.filter((happening) => isOf(happening, kind)),
    async [Symbol.asyncDispose]() {
      await gate.close({ graceMs: 0 })
      await emulator?.close()
    },
  }
}

async function nothingIsLeft({ dispatcher, ledger, store }: Engine): Promise<boolean> {
  const resources = await store.snapshot()
  const held = resources.reduce((sum, { inFlight, queued }) => sum + inFlight + queued, 0)
  const isWritten = ledger === null || ledger.pending === 0
  return dispatcher.size === 0 && dispatcher.grants.size === 0 && held === 0 && isWritten
}
