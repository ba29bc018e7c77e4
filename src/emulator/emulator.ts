// A faithful fake of the Anthropic API on a real port, and its limits alone for simulations.
// Owns: limits as the provider enforces them, answers as it streams them, its errors, faults on demand.
// Must not know: Headgate. It imports core's clock and meters and nothing else of the house.
import { createServer, type Server } from 'node:http'
import type { Clock } from '../core/clock.ts'
import type { EmulatorReport } from './emulated-provider.ts'
import { Exchange } from './exchange.ts'
import { route } from './router.ts'
import { type EmulatorOptions, resolveEmulatorSettings } from './settings.ts'
import { World } from './world.ts'

export type { Bill } from './bills.ts'
export {
  type Account,
  type Admission,
  type AdmittedCall,
  type Arrival,
  EmulatedProvider,
  type EmulatorReport,
  type Refused,
} from './emulated-provider.ts'
export type { FaultChanges, FaultName } from './faults.ts'
export { drawOutputTokens } from './output.ts'
export type { CachedPrefix, PromptUsage } from './prompt-cache.ts'
export {
  type EmulatorOptions,
  type EmulatorSettings,
  resolveEmulatorSettings,
} from './settings.ts'

export interface EmulatorStart {
  readonly clock: Clock
  /** From 0 up to 1: draws output lengths, faults, outside traffic and ids. */
  readonly random: () => number
  /** @default 127.0.0.1 */
  readonly host?: string
  /** @default 0: any free port */
  readonly port?: number
  readonly settings?: EmulatorOptions
}

export interface Emulator {
  /** What a client sets as its base URL. */
  readonly url: string
  readonly port: number
  report(): EmulatorReport
  /** Drops all connections and frees the port. */
  close(): Promise<void>
}

/** Longer than clients keep idle connections, so that they, not we, are the ones to close them. */
const KEEP_ALIVE_MS = 120_000

/** Listens. Rejects when the port is taken, throws a `ZodError` for wrong settings. */
export async function startEmulator(start: EmulatorStart): Promise<Emulator> {
  const world = new World(resolveEmulatorSettings(start.settings), start.clock, start.random)
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    void route(world, new Exchange(request, response, world.clock, world.newId()))
  })
  const host = start.host ?? '127.0.0.1'
  const port = await listen(server, start.port ?? 0, host)
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    report: () => world.provider.report(),
    close: () => {
      world.batches.close()
      return close(server)
    },
  }
}

function listen(server: Server, port: number, host: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.once('error', reject)
  server.listen(port, host, () => {
    const address = server.address()
    resolve(typeof address === 'object' && address ? address.port : port)
  })
  return promise
}

function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  server.closeAllConnections()
  return promise
}
