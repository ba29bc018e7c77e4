// A process of its own that shares a resource's gate through a Redis, for tests that kill it, or stop it
// and let it go on. Owns: starting it, carrying wishes there and what it was told back. Must not know:
// what a test proves. Run as a program it is that process.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { GateSettings, LimitSnapshot } from '../../src/core/admission.ts'
import { realClock } from '../../src/core/clock.ts'
import { costOf } from '../../src/core/cost.ts'
import type { Limit } from '../../src/core/limit.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import type { RedisAddress } from '../../src/stores/redis/address.ts'
import { connect } from '../../src/stores/redis/connection.ts'
import { RedisStore } from '../../src/stores/redis/redis-store.ts'
import { SharedStore } from '../../src/stores/shared/shared-store.ts'
import { until } from '../harness.ts'

const RESOURCE = 'shared'
const BEAT_MS = 200
/** What a process that is silent has, others get after so long. */
export const LEASE_MS = 5 * BEAT_MS

interface Plan {
  readonly name: string
  readonly address: RedisAddress
  readonly limits: readonly Limit[]
}

type Wish =
  | { readonly kind: 'enqueue'; readonly id: string; readonly inputTokens: number }
  | { readonly kind: 'settle'; readonly id: string; readonly inputTokens: number }
  | { readonly kind: 'snapshot' }

export interface State {
  readonly inFlight: number
  readonly queued: number
  readonly limits: readonly LimitSnapshot[]
}

type Told =
  | { readonly kind: 'ready' }
  | { readonly kind: 'granted' | 'waiting' | 'settled' | 'ended before'; readonly id: string }
  | ({ readonly kind: 'state' } & State)
  | { readonly kind: 'trouble'; readonly what: string }

export interface SharingProcess {
  readonly child: ChildProcess
  /** What its callers were told, in order: such as `granted a`. */
  readonly told: readonly string[]
  /** Resolves when it has been told so. */
  hears(what: string): Promise<void>
  /** Sends a caller into the line, or to its end. */
  enqueue(id: string, inputTokens: number): void
  settle(id: string, inputTokens: number): void
  state(): Promise<State>
  stop(): void
  goOn(): void
  kill(): Promise<void>
}

export async function startProcess(plan: Plan): Promise<SharingProcess> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(plan)])
  const exit = once(child, 'exit')
  const told: string[] = []
  const states: State[] = []
  child.on('message', (message: Told) => {
    if (message.kind === 'state') states.push(message)
    else if (message.kind === 'ready') told.push('ready')
    else told.push(`${message.kind} ${'id' in message ? message.id : message.what}`)
  })
  const hears = (what: string) => until(() => told.includes(what))
  const wish = (wanted: Wish): void => void child.send(wanted)
  await hears('ready')
  return {
    child,
    told,
    hears,
    enqueue: (id, inputTokens) => wish({ kind: 'enqueue', id, inputTokens }),
    settle: (id, inputTokens) => wish({ kind: 'settle', id, inputTokens }),
    async state() {
      const known = states.length
      wish({ kind: 'snapshot' })
      await until(() => states.length > known)
      return states.at(-1) ?? NOTHING
    },
    stop: () => void child.kill('SIGSTOP'),
    goOn: () => void child.kill('SIGCONT'),
    async kill() {
      child.kill('SIGKILL')
      await exit
    },
  }
}

const NOTHING: State = { inFlight: 0, queued: 0, limits: [] }

async function live({ name, address, limits }: Plan): Promise<void> {
  const tell = (told: Told): void => void process.send?.(told)
  const clock = realClock()
  const settings: GateSettings = {
    limits,
    learns: false,
    agingMs: Number.POSITIVE_INFINITY,
    maxQueued: 100,
    floors: { soft: 0, hard: 0 },
  }
  const settingsOf = () => settings
  const connection = await connect(address, { clock })
  const shared = await RedisStore.open({
    failed: (error) => {
      throw error
    },
    connection,
    clock,
    settingsOf,
    instance: name,
    leaseMs: LEASE_MS,
  })
  const store = new SharedStore({
    clock,
    random: Math.random,
    shared,
    settingsOf,
    localStore: (localSettingsOf) => new MemoryStore(clock, localSettingsOf),
    onFailure: 'degrade',
    events: {
      degraded: ({ why }) => tell({ kind: 'trouble', what: why }),
      returned: () => {},
      tellFailed: (error) => tell({ kind: 'trouble', what: String(error) }),
    },
    beatMs: BEAT_MS,
  })
  store.onGrant(({ id }) => tell({ kind: 'granted', id }))
  process.on('message', (wish: Wish) => {
    act(store, wish).then(tell, (error: unknown) => tell({ kind: 'trouble', what: String(error) }))
  })
  process.on('disconnect', () => process.exit())
  tell({ kind: 'ready' })
}

async function act(store: SharedStore, wish: Wish): Promise<Told> {
  switch (wish.kind) {
    case 'enqueue': {
      const { id, inputTokens } = wish
      const { kind } = await store.enqueue({
        id,
        resource: RESOURCE,
        flow: 'one',
        lane: 'normal',
        weight: 1,
        estimate: costOf({ input_tokens: inputTokens }),
        deadlineAt: Number.POSITIVE_INFINITY,
        place: null,
        parked: false,
        holder: null,
      })
      return { kind: kind === 'admitted' ? 'granted' : 'waiting', id }
    }
    case 'settle': {
      const { id, inputTokens } = wish
      const actual = costOf({ input_tokens: inputTokens })
      const wasLease = await store.settle(RESOURCE, id, actual, true)
      return { kind: wasLease ? 'settled' : 'ended before', id }
    }
    case 'snapshot': {
      const [found = NOTHING] = await store.snapshot()
      const { inFlight, queued, limits } = found
      return { kind: 'state', inFlight, queued, limits }
    }
  }
}

if (process.argv[1] === import.meta.filename) await live(JSON.parse(process.argv[2] ?? ''))
