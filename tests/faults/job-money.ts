// The money of a killed job's prompts, in three books: the provider's bills, the ledger, the job's own files. Owns:
// telling whose each amount is. Must not know: what was killed, or when.
//
// Each prompt asks for a model of its own, a date of one model: so bills and ledger name the prompt.
import { realClock } from '../../src/core/clock.ts'
import type { Emulator } from '../../src/emulator/emulator.ts'
import type { Ledger, UsageEvent } from '../../src/ledger/ledger.ts'
import { openPostgresLedger } from '../../src/ledger/postgres/postgres-ledger.ts'
import { costOf, Prices } from '../../src/ledger/prices.ts'
import { openSqliteLedger } from '../../src/ledger/sqlite/sqlite-ledger.ts'
import { until } from '../servers/until.ts'

/** Prompts of different lengths, with answers of different lengths up to the most that they allow. */
export function pricedPrompts(count: number, mostTokens: number) {
  return Array.from({ length: count }, (_, at) => {
    const model = `claude-haiku-4-5-${20_250_000 + at}`
    const output = 1 + ((at * 37) % mostTokens)
    const text = `${'Tell me more. '.repeat(at % 9)}[[emulate output=${output}]]`
    const messages = [{ role: 'user', content: text }]
    return { id: model, params: { model, max_tokens: mostTokens, messages } }
  })
}

const ALWAYS = { from: 0, to: Number.POSITIVE_INFINITY }

const prices = new Prices([])

/** What the provider charges for each prompt, in nano-dollars: for all its sendings together. */
export function billsOf(emulator: Emulator): Map<string, number> {
  const bills = new Map<string, number>()
  for (const bill of emulator.report().bills) {
    const price = prices.priceOf('anthropic', bill.model, Date.now())
    if (!price) throw new Error('its price is known')
    const cost = costOf(price, bill, { isBatch: bill.serviceTier === 'batch' })
    bills.set(bill.model, (bills.get(bill.model) ?? 0) + cost)
  }
  return bills
}

/** What the ledger has of one prompt, in nano-dollars. */
export interface Booked {
  /** Of each answer that came whole. */
  readonly exact: readonly number[]
  /** Of each sending whose end nobody has seen. */
  readonly guessed: readonly number[]
}

export type Books = ReadonlyMap<string, Booked>

export const bookedFor = (books: Books, id: string): Booked =>
  books.get(id) ?? { exact: [], guessed: [] }

/** How many sendings are charged whose end nobody has seen. */
export const guesses = (books: Books): number =>
  sum(Array.from(books.values(), ({ guessed }) => guessed.length))

/**
 * What is in a ledger that nobody has open any more, when all is charged that dead processes had set aside.
 * @param place `sqlite:` with an absolute path, or a Postgres
 */
export async function booksIn(place: string): Promise<{ books: Books; lost: number }> {
  let lost = 0
  const ledger = await openAfter(place, (requests) => {
    lost += requests
  })
  try {
    const books = await booksOf(ledger)
    const { cost } = await ledger.total(ALWAYS)
    const inBooks = sum(
      Array.from(books.values(), ({ exact, guessed }) => sum(exact) + sum(guessed)),
    )
    if (cost !== inBooks) throw new Error(`${cost} in all, and ${inBooks} in its parts`)
    return { books, lost }
  } finally {
    await ledger.close(0)
  }
}

/** @param recovered told how many requests of dead processes were charged */
async function openAfter(place: string, recovered: (requests: number) => void): Promise<Ledger> {
  const events = {
    unavailable() {},
    returned() {},
    recovered,
    warned() {},
    failed(error: Error) {
      throw error
    },
  }
  // All before it have been silent for longer than that.
  const options = { clock: realClock(), holder: 'heir', lifeMs: 1, events }
  return place.startsWith('sqlite:')
    ? await openSqliteLedger({ ...options, file: place.slice('sqlite:'.length) })
    : await openPostgresLedger({ ...options, url: place })
}

async function booksOf(ledger: Ledger): Promise<Books> {
  const books = new Map<string, Booked>()
  for await (const event of ledger.events(ALWAYS)) {
    const { model } = event.call
    if (model === null || event.cost === null) throw new Error('each has a model with a price')
    const { exact, guessed } = bookedFor(books, model)
    const next = isWhole(event)
      ? { exact: [...exact, event.cost], guessed }
      : { exact, guessed: [...guessed, event.cost] }
    books.set(model, next)
  }
  return books
}

const isWhole = ({ outcome, isExact }: UsageEvent): boolean => outcome === 'answered' && isExact

export const sum = (amounts: Iterable<number>): number =>
  [...amounts].reduce((total, amount) => total + amount, 0)

/** Resolves when the provider works for nobody: it may take a moment to see that a caller has gone. */
export const allBilled = (emulator: Emulator): Promise<void> =>
  until('nothing is under way at the provider', async () => emulator.report().inFlight === 0)
