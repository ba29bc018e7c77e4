// A way to a Redis that survives its outages. Owns: both connections, one for commands and one for
// pushes, and telling when they are there. Must not know: keys, scripts, or what messages mean.
import { Cluster, Redis } from 'ioredis'
import { type Clock, type EpochMs, realClock, type Timer } from '../../core/clock.ts'
import { StoreUnreachable } from '../../core/store.ts'
import type { Endpoint, RedisAddress } from './address.ts'
import {
  COMMAND_TIMEOUT_MS,
  commandClient,
  endpointsOf,
  pushClient,
  SILENCE_TIMEOUT_MS,
} from './clients.ts'
import type { PlainScript, Program } from './program.ts'
import { judge, lookAt, StoreSetupError } from './server-check.ts'
import { clauseOf, storeFailure } from './store-failure.ts'

export interface RedisConnection {
  /** What all keys begin with. */
  readonly prefix: string
  /** What was found at the start that people should know: sentences for the log. */
  readonly warnings: readonly string[]
  /**
   * Runs an operation of a program, in one round trip once the server knows the program. Rejects with
   * `StoreUnreachable` for anything that is not the program's own mistake; it may have run all the
   * same, but never twice.
   */
  run(
    program: Program,
    script: { readonly name: string; readonly body: string },
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<unknown>
  /** Whether both connections are there. */
  readonly isReachable: boolean
  /** A plain command; fails as `run` does. */
  command(name: string, ...args: string[]): Promise<unknown>
  /**
   * The messages of one channel, after each loss anew. Resolves when subscribed, or at once while the
   * server cannot be reached: then it will be when `onReach` tells true.
   */
  subscribe(channel: string, listener: (message: string) => void): Promise<void>
  /** Is told false when one of the connections is lost, and true when both are back. Set once. */
  onReach(listener: (isReachable: boolean) => void): void
  close(): Promise<void>
}

export interface ConnectOptions {
  readonly clock?: Clock
  /** Is told what only people can mend, when it turns up after the start. */
  readonly onError?: (error: StoreSetupError) => void
}

/**
 * Connects to a Redis. One that cannot be reached now is no error: the connection comes about later,
 * and `warnings` says so.
 *
 * @throws StoreSetupError when the address or the server is wrong.
 */
export async function connect(
  address: RedisAddress,
  { clock = realClock(), onError = () => {} }: ConnectOptions = {},
): Promise<RedisConnection> {
  const look = await lookAt(address)
  const isThere = look.kind === 'fit'
  const warnings = isThere
    ? look.warnings
    : [`the store ${address.shown} ${look.why}: the gate goes on without it until it is back`]
  const connection = new LiveConnection(address, { clock, onError, warnings })
  if (isThere) await connection.opened()
  return connection
}

/** A push connection that has died without a word is found out within this time. */
const PING_EVERY_MS = 2000
/** A server that is there but not fit (a replica, still loading) is looked at again so often. */
const LOOK_AGAIN_MS = 1000
const OPENED_WITHIN_MS = 3000

type Listener = (message: string) => void

class LiveConnection implements RedisConnection {
  readonly prefix: string
  readonly warnings: readonly string[]
  readonly #address: RedisAddress
  readonly #clock: Clock
  readonly #onError: (error: StoreSetupError) => void
  readonly #commands: Redis | Cluster
  readonly #pushes: Redis
  readonly #channels = new Map<string, Listener>()
  #endpointIndex = 0
  #heardAt: EpochMs
  /** Until the server says that it is too old for them, or may not be asked. */
  #hasFunctions = true
  #canRun = false
  #isListening = false
  #told: boolean | null = null
  #tell: ((isReachable: boolean) => void) | null = null
  #whenOpened: (() => void) | null = null
  #pingTimer: Timer | null = null
  #lookTimer: Timer | null = null
  #warnedOf: string | null = null
  #isClosed = false

  constructor(
    address: RedisAddress,
    options: Required<ConnectOptions> & { readonly warnings: readonly string[] },
  ) {
    this.#address = address
    this.prefix = address.prefix
    this.warnings = options.warnings
    this.#clock = options.clock
    this.#onError = options.onError
    this.#heardAt = options.clock.now()
    this.#commands = commandClient(address)
    this.#pushes = pushClient(address, () => this.#nextEndpoint())
    this.#commands
      // Losses are told by `close`, and what an error means by the commands that fail.
      .on('error', () => {})
      .on('ready', () => void this.#look())
      .on('close', () => this.#commandsLost())
    this.#pushes
      .on('error', () => {})
      .on('ready', () => void this.#listen())
      .on('close', () => this.#pushesLost())
      .on('message', (channel: string, message: string) => this.#channels.get(channel)?.(message))
  }

  /** Resolves when both connections are there, or when that takes too long. */
  async opened(): Promise<void> {
    if (this.isReachable) return
    await new Promise<void>((resolve) => {
      const timer = this.#clock.schedule(this.#clock.now() + OPENED_WITHIN_MS, resolve)
      this.#whenOpened = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  async run(
    program: Program,
    script: { readonly name: string; readonly body: string },
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<unknown> {
    const operands = [String(keys.length), ...keys, ...args]
    if (!this.#hasFunctions) return await this.#runPlain(program.plain(script), operands)
    const name = program.functionOf(script)
    try {
      return await this.#send('fcall', [name, ...operands])
    } catch (error) {
      if (isUnknownCommand(error)) {
        this.#hasFunctions = false
        return await this.#runPlain(program.plain(script), operands)
      }
      if (!isUnknownFunction(error)) throw error
    }
    await this.#load(program)
    try {
      return await this.#send('fcall', [name, ...operands])
    } catch (error) {
      if (!isUnknownFunction(error)) throw error
      throw new StoreUnreachable(`${this.#address.shown} has not taken in the gate's functions`)
    }
  }

  async #runPlain(
    { lua, sha }: PlainScript,
    operands: readonly (string | Buffer)[],
  ): Promise<unknown> {
    try {
      return await this.#send('evalsha', [sha, ...operands])
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
    }
    return await this.#send('eval', [lua, ...operands])
  }

  /**
   * Each primary of a cluster has its own libraries; replicas follow. One that is away now is told when
   * it turns out not to know them: the others need not wait for it. A library is named by what is in
   * it, so one that is there already is the right one: of fifty processes that meet an empty server,
   * one keeps it busy for the time that loading takes.
   */
  async #load(program: Program): Promise<void> {
    const commands = this.#commands
    const nodes = commands instanceof Cluster ? commands.nodes('master') : [commands]
    const library = program.library()
    const loads = nodes.map(async (node) => {
      await this.#inTime(node.call('function', 'load', library)).catch((error: unknown) => {
        if (!isKnownLibrary(error)) throw error
      })
    })
    const [failure, ...failures] = (await Promise.allSettled(loads)).filter(isRejected)
    if (failure && failures.length === nodes.length - 1)
      throw storeFailure(failure.reason, this.#address.shown)
  }

  command(name: string, ...args: string[]): Promise<unknown> {
    return this.#send(name.toLowerCase(), args)
  }

  async subscribe(channel: string, listener: Listener): Promise<void> {
    this.#channels.set(channel, listener)
    if (this.#pushes.status === 'ready') await this.#listen()
  }

  onReach(listener: (isReachable: boolean) => void): void {
    this.#tell = listener
    this.#told = true
    queueMicrotask(() => this.#reachChanged())
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#pingTimer?.cancel()
    this.#lookTimer?.cancel()
    for (const client of [this.#commands, this.#pushes]) client.disconnect()
  }

  async #send(name: string, args: readonly (string | Buffer)[]): Promise<unknown> {
    const { shown } = this.#address
    // While a cluster looks for its nodes the driver would keep commands for later.
    if (this.#commands.status !== 'ready') throw new StoreUnreachable(`${shown} is not connected`)
    try {
      const answer = await this.#inTime(this.#commands.call(name, ...args))
      this.#heardAt = this.#clock.now()
      return answer
    } catch (error) {
      if (isAnswer(error)) this.#heardAt = this.#clock.now()
      else if (this.#clock.now() - this.#heardAt > SILENCE_TIMEOUT_MS) this.#reconnect()
      throw storeFailure(error, shown)
    }
  }

  /** A peer that is gone without a word is not told from a slow one but by its silence. */
  #reconnect(): void {
    this.#heardAt = this.#clock.now()
    if (this.#isClosed) return
    if (this.#commands instanceof Redis) this.#commands.disconnect(true)
    else this.#commands.refreshSlotsCache()
  }

  /**
   * The driver's own time-outs end commands whose answers are there already, in the socket of a process
   * that was stopped for a while. So each is given the chance to be read before it counts as late.
   */
  async #inTime(answer: Promise<unknown>): Promise<unknown> {
    const late = Promise.withResolvers<never>()
    const timer = this.#clock.schedule(this.#clock.now() + COMMAND_TIMEOUT_MS, () =>
      setImmediate(() => setImmediate(() => late.reject(new Error('Command timed out')))),
    )
    try {
      return await Promise.race([answer, late.promise])
    } finally {
      timer.cancel()
    }
  }

  /** The server may be another one by now, or another kind. */
  async #look(): Promise<void> {
    try {
      const isFit = this.#commands.isCluster || (await this.#isFit())
      if (isFit && this.#commands.status === 'ready') this.#setCanRun(true)
      else this.#lookAgain()
    } catch (error) {
      if (error instanceof StoreSetupError) this.#warn(error)
      this.#lookAgain()
    }
  }

  /** The same trouble is found again and again until somebody mends it, and told once. */
  #warn(error: StoreSetupError): void {
    if (this.#warnedOf !== error.message) this.#onError(error)
    this.#warnedOf = error.message
  }

  async #isFit(): Promise<boolean> {
    const info = await this.#commands.call('info')
    return judge(String(info), this.#address).kind === 'fit'
  }

  #lookAgain(): void {
    this.#lookTimer?.cancel()
    if (this.#isClosed) return
    this.#lookTimer = this.#clock.schedule(this.#clock.now() + LOOK_AGAIN_MS, () => {
      if (this.#commands.status === 'ready') void this.#look()
    })
  }

  #commandsLost(): void {
    this.#lookTimer?.cancel()
    this.#setCanRun(false)
    // Both lead to the same server: where the one goes next, the other goes.
    if (this.#pushes.status === 'ready') this.#pushes.disconnect(true)
  }

  async #listen(): Promise<void> {
    try {
      if (this.#channels.size > 0) await this.#pushes.subscribe(...this.#channels.keys())
      this.#setListening(true)
      this.#pingLater()
    } catch (error) {
      const why = clauseOf(error)
      if (/NOPERM/.test(String(error)))
        this.#warn(new StoreSetupError(`the store ${this.#address.shown} ${why}: channels`))
      if (!this.#isClosed) this.#pushes.disconnect(true)
    }
  }

  #pingLater(): void {
    this.#pingTimer?.cancel()
    this.#pingTimer = this.#clock.schedule(this.#clock.now() + PING_EVERY_MS, () => {
      const sentAt = this.#clock.now()
      this.#inTime(this.#pushes.ping()).then(
        () => this.#pingLater(),
        () => this.#pingFailed(sentAt),
      )
    })
  }

  /** Both lead to the same server: if the other has been silent as well, it may be as dead. */
  #pingFailed(sentAt: EpochMs): void {
    if (this.#pushes.status === 'ready') this.#pushes.disconnect(true)
    if (this.#heardAt < sentAt) this.#reconnect()
  }

  #pushesLost(): void {
    this.#pingTimer?.cancel()
    this.#setListening(false)
  }

  #setCanRun(canRun: boolean): void {
    this.#canRun = canRun
    this.#reachChanged()
  }

  #setListening(isListening: boolean): void {
    this.#isListening = isListening
    this.#reachChanged()
  }

  get isReachable(): boolean {
    return this.#canRun && this.#isListening
  }

  #reachChanged(): void {
    if (this.isReachable) {
      this.#warnedOf = null
      this.#whenOpened?.()
    }
    if (this.#isClosed || !this.#tell || this.#told === this.isReachable) return
    this.#told = this.isReachable
    this.#tell(this.isReachable)
  }

  /** Any node of a cluster passes all messages on, so each attempt tries another. */
  #nextEndpoint(): Endpoint {
    const known = this.#commands.isCluster ? clusterNodes(this.#commands) : []
    const endpoints = [...known, ...endpointsOf(this.#address)]
    const { host, port } = endpoints[this.#endpointIndex++ % endpoints.length] ?? NOWHERE
    return { host, port }
  }
}

const NOWHERE: Endpoint = { host: 'localhost', port: 0 }

function clusterNodes(client: Redis | Cluster): Endpoint[] {
  if (!('nodes' in client)) return []
  return client
    .nodes('all')
    .flatMap(({ options: { host, port } }) =>
      host !== undefined && port !== undefined ? [{ host, port }] : [],
    )
}

const isRejected = (load: PromiseSettledResult<unknown>): load is PromiseRejectedResult =>
  load.status === 'rejected'

const says = (error: unknown, what: RegExp): boolean =>
  error instanceof Error && what.test(error.message)

/** The server has said no, and so it is there. */
const isAnswer = (error: unknown): boolean => error instanceof Error && error.name === 'ReplyError'

const isUnknownFunction = (error: unknown): boolean => says(error, /Function not found/i)

const isKnownLibrary = (error: unknown): boolean => says(error, /Library .* already exists/i)

const isUnknownCommand = (error: unknown): boolean => says(error, /unknown command/i)
