// The ledger's own thread: waiting for the disk there holds up no request. Owns: the message loop.
// Must not know: what the questions mean.
import { parentPort, workerData } from 'node:worker_threads'
import { LedgerSetupError, LedgerUnavailable } from '../ledger.ts'
import type { Answer, Asked, Exchange, FileSettings, Handlers, Question } from './exchange.ts'
import { asLedgerError } from './failure.ts'
import { openHandlers } from './handlers.ts'

const port = parentPort
if (port === null)
  throw new Error('the ledger runs in a thread of its own: open it by openSqliteLedger')

const settings: FileSettings = workerData
let handlers: Handlers | undefined

port.on('message', (asked: Asked<Question>) => {
  port.postMessage(answer(asked.exchange, () => handle(asked)))
  if (asked.question === 'close') port.close()
})
port.postMessage(
  answer(0, () => {
    handlers = openHandlers(settings)
    return null
  }),
)

function handle<Q extends Question>({ question, input }: Asked<Q>): Exchange[Q][1] {
  if (handlers === undefined) throw new Error('the ledger file is not open')
  return handlers[question](input)
}

function answer(exchange: number, work: () => unknown): Answer {
  try {
    return { exchange, kind: 'done', output: work() }
  } catch (error) {
    return failed(exchange, asLedgerError(error, settings.file))
  }
}

function failed(exchange: number, error: unknown): Answer {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof LedgerUnavailable) return { exchange, kind: 'unavailable', message }
  if (error instanceof LedgerSetupError) return { exchange, kind: 'setup', message }
  return { exchange, kind: 'failed', message }
}
