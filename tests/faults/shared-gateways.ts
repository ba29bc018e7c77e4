// Two gateways in this process that share one Redis, before a provider that answers when it is told to.
// Owns: opening them, sending requests through them, and who came to the provider. Must not know: what
// any test proves.
import { expect } from 'vitest'
import type { LimitRule, StoreFailurePolicy } from '../../src/policy/settings.ts'
import { parseStoreAddress, type RedisStoreAddress } from '../../src/policy/store-address.ts'
import { connect, type RedisConnection } from '../../src/stores/redis/connection.ts'
import { ask, type Harness, openHarness, until } from '../harness.ts'
import { freshPrefix } from '../servers/redis.ts'
import { stubUpstream } from '../stub-upstream.ts'

export interface HeldProvider extends AsyncDisposable {
  readonly url: string
  /** Everybody who came, in order, by name. */
  readonly came: readonly string[]
  /** Those of them who wait for their answers. */
  readonly unanswered: readonly string[]
  /** How many waited for their answers at once, at the most. */
  readonly mostAtOnce: number
  answer(...names: readonly string[]): void
  /** From now on everybody is answered at once. */
  answerAll(): void
}

const JSON_HEADERS = { 'content-type': 'application/json' }
const MESSAGE = '{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}'

async function heldProvider(): Promise<HeldProvider> {
  const came: string[] = []
  const answers = new Map<string, () => void>()
  let mostAtOnce = 0
  let isHeld = true
  const answer = (...names: readonly string[]): void => {
    for (const name of names) {
      const send = answers.get(name)
      answers.delete(name)
      send?.()
    }
  }
  const stub = await stubUpstream((response, { body }) => {
    const name = /"content":"([^"]*)"/.exec(body.toString())?.[1] ?? ''
    came.push(name)
    answers.set(name, () => response.writeHead(200, JSON_HEADERS).end(MESSAGE))
    mostAtOnce = Math.max(mostAtOnce, answers.size)
    if (!isHeld) answer(name)
  })
  return {
    url: stub.url,
    came,
    get unanswered() {
      return [...answers.keys()]
    },
    get mostAtOnce() {
      return mostAtOnce
    },
    answer,
    answerAll() {
      isHeld = false
      answer(...answers.keys())
    },
    [Symbol.asyncDispose]: () => stub[Symbol.asyncDispose](),
  }
}

export interface ShownStatus {
  readonly inFlight: number
  readonly queued: number
  readonly store?: { readonly degraded: boolean; readonly onFailure: StoreFailurePolicy }
}

export interface SharedGateways extends AsyncDisposable {
  readonly gates: readonly [Harness, Harness]
  readonly provider: HeldProvider
  /** Requests of these names, through one of the gateways. */
  send(gate: Harness, ...names: readonly string[]): void
  /** Resolves when the gateways' status says so; together, while they share. */
  shows(gate: Harness, status: ShownStatus): Promise<void>
  /** Resolves when both, which are in use, have found how many share the store. */
  acquainted(): Promise<void>
  /** Resolves when both have said so often that their store is back. */
  returned(times?: number): Promise<void>
  /**
   * Answers all that are left, then checks what must hold whatever happened: everybody was answered, was
   * sent to the provider once, and has left nothing behind.
   */
  end(expected?: string): Promise<void>
  /** A command to the Redis, from outside. */
  command(name: string, ...args: readonly string[]): Promise<unknown>
}

export interface SharedGatewaysOptions {
  readonly limits: readonly LimitRule[]
  readonly onStoreFailure?: StoreFailurePolicy
}

/** @param urls of the Redis, as each of the two reaches it. */
export async function openShared(
  urls: readonly [string, string] | string,
  { limits, onStoreFailure = 'degrade' }: SharedGatewaysOptions,
): Promise<SharedGateways> {
  const prefix = freshPrefix()
  const provider = await heldProvider()
  const open = (url: string): Promise<Harness> => {
    const store = addressOf(`${url}?prefix=${prefix}`)
    return openHarness({ upstream: provider.url, store, onStoreFailure, anthropic: { limits } })
  }
  const [one, other] = typeof urls === 'string' ? [urls, urls] : urls
  const gates = [await open(one), await open(other)] as const
  const spectator = await connect(addressOf(`${one}?prefix=${prefix}`))
  // None, where the Redis is still to come.
  const joined = await beats(spectator).catch((): readonly string[] => [])
  const outcomes = new Map<string, Promise<unknown>>()
  return {
    gates,
    provider,
    send(gate, ...names) {
      for (const name of names) outcomes.set(name, outcomeOf(gate, name))
    },
    shows: (gate, status) => expect.poll(() => gate.status(), LOOKS).toMatchObject(status),
    async acquainted() {
      await until(async () => {
        const beaten = await beats(spectator)
        return beaten.length === 2 && beaten.every((beat) => !joined.includes(beat))
      })
      // Each hears what it has found before the answer to what it asks next.
      for (const gate of gates) await gate.status()
    },
    returned: (times = 1) =>
      until(() => gates.every((gate) => gate.of('store_returned').length === times)),
    async end(expected = 'nothing') {
      provider.answerAll()
      for (const [name, outcome] of outcomes)
        expect([name, await outcome]).toEqual([name, ANSWERED])
      expect([...provider.came].sort()).toEqual([...outcomes.keys()].sort())
      for (const gate of gates) await gate.idle()
      const failures = gates.flatMap((gate) => gate.of('failed').map(({ error }) => String(error)))
      expect(failures.filter((failure) => !failure.includes(expected))).toEqual([])
    },
    command: (name, ...args) => spectator.command(name, ...args),
    async [Symbol.asyncDispose]() {
      await Promise.all(gates.map((gate) => gate[Symbol.asyncDispose]()))
      await spectator.close()
      await provider[Symbol.asyncDispose]()
    },
  }
}

const LOOKS = { interval: 5, timeout: 10_000 }

const ANSWERED = 'answered'

/** The error itself where there is one: a test that has failed already does not wait for it. */
async function outcomeOf(gate: Harness, name: string): Promise<unknown> {
  const message = gate.client().messages.create(ask(name))
  return await message.then(
    () => ANSWERED,
    (error: unknown) => error,
  )
}

/** When each that shares the store gave its last sign of life. */
async function beats(connection: RedisConnection): Promise<readonly string[]> {
  const list = await connection.command(
    'ZRANGE',
    `${connection.prefix}:instances`,
    '0',
    '-1',
    'WITHSCORES',
  )
  return Array.isArray(list) ? list.filter((_, index) => index % 2 === 1).map(String) : []
}

function addressOf(url: string): RedisStoreAddress {
  const read = parseStoreAddress(url)
  if (read.kind === 'refused' || read.value.kind === 'memory') throw new Error(`${url} is no Redis`)
  return read.value
}
