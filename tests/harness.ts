// A whole gateway on real sockets for one test: emulator or any other upstream behind it, official
// SDK before it. Owns: opening, watching and closing it. Must not know: what any test proves.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import Anthropic, { type ClientOptions } from '@anthropic-ai/sdk'
import { type GatewayEvents, type Wired, wire } from '../src/cli/wire.ts'
import { type Status, statusSchema } from '../src/control/status.ts'
import { type Clock, realClock } from '../src/core/clock.ts'
import type { CostVector } from '../src/core/cost.ts'
import { seededRandom } from '../src/core/random.ts'
import type { Refusal } from '../src/core/refusal.ts'
import type { CallFacts, Outcome } from '../src/dispatch/events.ts'
import { type Emulator, type EmulatorOptions, startEmulator } from '../src/emulator/emulator.ts'
import type { BudgetWarning } from '../src/ledger/ledger.ts'
import { loadSettings } from '../src/policy/resolve.ts'
import type { ProviderSettings, Settings } from '../src/policy/settings.ts'
import type { UndiciUpstreamOptions } from '../src/upstream/undici-upstream.ts'

export const MODEL = 'claude-sonnet-5'

/** The key that `client` sends unless told otherwise. */
export const KEY = 'sk-ant-test-0123456789'

/** What happened to calls, in order. */
export type Happening =
  | {
      readonly kind: 'settled'
      readonly facts: CallFacts
      readonly outcome: Outcome
      readonly status: number | null
      readonly actual: CostVector
    }
  | { readonly kind: 'refused'; readonly facts: CallFacts; readonly refusal: Refusal }
  | { readonly kind: 'cancelled'; readonly facts: CallFacts }
  | {
      readonly kind: 'bounced'
      readonly facts: CallFacts
      readonly reason: string
      readonly status: number | null
    }
  | { readonly kind: 'store_degraded'; readonly policy: string; readonly why: string }
  | { readonly kind: 'store_returned'; readonly afterMs: number; readonly rejoined: number }
  | { readonly kind: 'store_warned'; readonly sentence: string }
  | { readonly kind: 'shadowed'; readonly facts: CallFacts; readonly rule: string }
  | { readonly kind: 'budget_warned'; readonly warning: BudgetWarning }
  | { readonly kind: 'ledger_unavailable'; readonly why: string }
  | { readonly kind: 'ledger_returned'; readonly afterMs: number; readonly pending: number }
  | { readonly kind: 'ledger_recovered'; readonly requests: number; readonly cost: number }
  | { readonly kind: 'turned_away'; readonly reason: string }
  | { readonly kind: 'warned'; readonly sentence: string }
  | { readonly kind: 'failed'; readonly error: unknown }

export interface HarnessOptions {
  /** Base URL of an upstream that the test runs itself. @default an emulator */
  readonly upstream?: string
  readonly emulator?: EmulatorOptions
  /** The clock of gateway and emulator runs so many times as fast. */
  readonly speed?: number
  readonly queue?: Partial<Settings['queue']>
  /** @default memory */
  readonly store?: Settings['store']
  readonly onStoreFailure?: Settings['onStoreFailure']
  readonly anthropic?: Partial<ProviderSettings>
  readonly maxBodyMemoryBytes?: number
  /** A configuration as users write it, for all that the options above do not say. */
  readonly config?: string
  /** In real time, whatever `speed`. */
  readonly upstreamTimeouts?: UndiciUpstreamOptions
}

export interface Harness extends AsyncDisposable {
  /** The gateway's base URL. */
  readonly url: string
  readonly clock: Clock
  readonly settings: Settings
  readonly wired: Wired
  readonly happenings: readonly Happening[]
  /** Throws where the test runs its own upstream. */
  readonly emulator: Emulator
  /** The official SDK, which does not try again unless told to. */
  client(options?: ClientOptions): Anthropic
  status(): Promise<Status>
  /** Resolves when nothing of any call is left: no call, lease, ticket, byte of a body or unwritten record. */
  idle(): Promise<void>
  /** The happenings of one kind so far. */
  of<K extends Happening['kind']>(kind: K): readonly Extract<Happening, { kind: K }>[]
}

export async function openHarness(options: HarnessOptions = {}): Promise<Harness> {
  const clock = realClock(options.speed)
  const emulator =
    options.upstream === undefined
      ? await startEmulator({
          clock,
          random: seededRandom(1),
          ...(options.emulator && { settings: options.emulator }),
        })
      : null
  const happenings: Happening[] = []
  const settings = settingsFor(options, options.upstream ?? emulator?.url ?? '')
  const wired = await wire({
    settings,
    clock,
    random: seededRandom(1),
    events: recorderInto(happenings),
    ...(options.upstreamTimeouts && { upstreamTimeouts: options.upstreamTimeouts }),
  })
  const url = await wired.gateway.listen()
  return {
    url,
    clock,
    settings,
    wired,
    happenings,
    get emulator() {
      if (!emulator) throw new Error('this test runs its own upstream')
      return emulator
    },
    client: (more) => new Anthropic({ baseURL: url, apiKey: KEY, maxRetries: 0, ...more }),
    status: async () => statusSchema.parse(await (await fetch(`${url}/headgate/v1/status`)).json()),
    idle: () => nothingIsLeft(wired),
    of: (kind) => happenings.filter((happening) => isOf(happening, kind)),
    async [Symbol.asyncDispose]() {
      wired.gateway.closeNow()
      await wired.close()
      await emulator?.close()
    },
  }
}

/** What the file says, a ledger only where it names one, and what the options say on top. */
export function settingsFor(options: HarnessOptions, upstream: string): Settings {
  const written = writtenSettings(options.config ?? '')
  return {
    ...written,
    port: 0,
    store: options.store ?? written.store,
    onStoreFailure: options.onStoreFailure ?? written.onStoreFailure,
    queue: { ...written.queue, maxQueued: 20_000, ...options.queue },
    maxBodyMemoryBytes: options.maxBodyMemoryBytes ?? written.maxBodyMemoryBytes,
    providers: {
      anthropic: { ...written.providers.anthropic, baseUrl: upstream, ...options.anthropic },
    },
  }
}

function writtenSettings(config: string): Settings {
  const folder = mkdtempSync(path.join(tmpdir(), 'headgate-config-'))
  try {
    writeFileSync(path.join(folder, 'headgate.yaml'), config)
    const { settings } = loadSettings({}, {}, folder)
    const isUsual = settings.ledger.kind === 'sqlite' && settings.ledger.isDefault
    return isUsual ? { ...settings, ledger: { kind: 'off', shown: 'off' } } : settings
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export function recorderInto(happenings: Happening[]): GatewayEvents {
  return {
    settled: (facts, outcome, status, actual) =>
      happenings.push({ kind: 'settled', facts, outcome, status, actual }),
    refused: (facts, refusal) => happenings.push({ kind: 'refused', facts, refusal }),
    cancelled: (facts) => happenings.push({ kind: 'cancelled', facts }),
    bounced: (facts, reason, status) => happenings.push({ kind: 'bounced', facts, reason, status }),
    shadowed: (facts, rule) => happenings.push({ kind: 'shadowed', facts, rule }),
    budgetWarned: (warning) => happenings.push({ kind: 'budget_warned', warning }),
    ledgerUnavailable: (why) => happenings.push({ kind: 'ledger_unavailable', why }),
    ledgerReturned: (afterMs, pending) =>
      happenings.push({ kind: 'ledger_returned', afterMs, pending }),
    ledgerRecovered: (requests, cost) =>
      happenings.push({ kind: 'ledger_recovered', requests, cost }),
    turnedAway: (reason) => happenings.push({ kind: 'turned_away', reason }),
    warned: (sentence) => happenings.push({ kind: 'warned', sentence }),
    storeDegraded: (outage) => happenings.push({ kind: 'store_degraded', ...outage }),
    storeReturned: (back) => happenings.push({ kind: 'store_returned', ...back }),
    storeWarned: (sentence) => happenings.push({ kind: 'store_warned', sentence }),
    failed: (error) => happenings.push({ kind: 'failed', error }),
  }
}

export function isOf<K extends Happening['kind']>(
  happening: Happening,
  kind: K,
): happening is Extract<Happening, { kind: K }> {
  return happening.kind === kind
}

async function nothingIsLeft({ dispatcher, gateway, ledger, store }: Wired): Promise<void> {
  await until(async () => {
    const resources = await store.snapshot()
    const held = resources.reduce((sum, { inFlight, queued }) => sum + inFlight + queued, 0)
    const isWritten = ledger === null || ledger.pending === 0
    const isAwaited = dispatcher.grants.size > 0
    return dispatcher.size === 0 && !isAwaited && gateway.bodyBytes === 0 && held === 0 && isWritten
  })
}

/** Looks again so often: what others do to sockets tells nobody when it is done. */
const LOOK_EVERY_MS = 2

/** Resolves as soon as a condition holds; rejects when it does not in time. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const endAt = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > endAt) throw new Error(`still not so: ${condition}`)
    await pause(LOOK_EVERY_MS)
  }
}

/** A request that the emulator answers with as many tokens as wished. */
export function ask(
  text: string,
  more: { readonly output?: number; readonly fault?: string } = {},
) {
  const words = Object.entries(more).map(([key, value]) => `${key}=${value}`)
  const marker = words.length > 0 ? ` [[emulate ${words.join(' ')}]]` : ''
  return {
    model: MODEL,
    max_tokens: 1000,
    messages: [{ role: 'user' as const, content: text + marker }],
  }
}

/** The error that a promise rejects with. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    () => ({ failed: false, error: null }),
    (error: unknown) => ({ failed: true, error }),
  )
  if (!outcome.failed) throw new Error('expected a failure')
  return outcome.error
}
