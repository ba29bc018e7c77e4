// The emulator as a process of its own, on real HTTP, without any limit of its own that could hold
// anybody up. Owns: its log of every arrival, which the race is judged by. Must not know: the gate.
import { AsyncLocalStorage } from 'node:async_hooks'
import { createServer } from 'node:http'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import {
  type Admission,
  type Arrival as AdmittedArrival,
  EmulatedProvider,
} from '../../src/emulator/emulated-provider.ts'
import { Exchange } from '../../src/emulator/exchange.ts'
import { route } from '../../src/emulator/router.ts'
import { resolveEmulatorSettings } from '../../src/emulator/settings.ts'
import { World } from '../../src/emulator/world.ts'

/** One request that came to the provider, as it counted it. */
export interface Arrival {
  readonly at: number
  readonly ticket: string
  readonly inputTokens: number
}

/** What it tells when it is asked to. */
export interface ProviderLog {
  readonly arrivals: readonly Arrival[]
  readonly maxInFlight: number
  readonly refused: number
}

const PLENTY = 1_000_000_000
const clock = realClock()
const random = seededRandom(1)
const settings = resolveEmulatorSettings({
  limits: { requests: PLENTY, inputTokens: PLENTY, outputTokens: PLENTY },
  ttftMs: 20,
  tokensPerSecond: 2000,
})
const tickets = new AsyncLocalStorage<string>()
const arrivals: Arrival[] = []

/** Writes down each request as its limits see it: when it is counted, and as how much. */
class LoggedProvider extends EmulatedProvider {
  override admit(arrival: AdmittedArrival): Admission {
    arrivals.push({
      at: clock.now(),
      ticket: tickets.getStore() ?? '',
      inputTokens: arrival.promptTokens,
    })
    return super.admit(arrival)
  }
}

const world = new World(settings, clock, random)
world.provider = new LoggedProvider(settings, clock, random)

const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
  const ticket = String(request.headers['x-race-ticket'])
  void tickets.run(ticket, () =>
    route(world, new Exchange(request, response, clock, world.newId())),
  )
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address) process.send?.({ port: address.port })
})

process.on('message', () => {
  const { totals, maxInFlight } = world.provider.report()
  const refused = totals.requests - totals.admitted
  process.send?.({ arrivals, maxInFlight, refused } satisfies ProviderLog)
})

// Whoever has started it has gone.
process.on('disconnect', () => process.exit())
