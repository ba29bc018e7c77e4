// One life of the ledger's thread, seen from the main thread. Owns: matching answers to questions, and
// that every question is answered, if only by the thread's end. Must not know: what is asked.
import { Worker } from 'node:worker_threads'
import { LedgerSetupError, LedgerUnavailable } from '../ledger.ts'
import type { Answer, Asked, Exchange, FileSettings, Question } from './exchange.ts'

interface Pending {
  readonly resolve: (output: never) => void
  readonly reject: (error: Error) => void
}

/** Answers carry what their question promises: the thread is this same code. */
type Received = Answer & { readonly output: never }

/** Starts the thread from its source or, where this is built, from what it was built to. */
export function startWorker(settings: FileSettings): Worker {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return new Worker(new URL(`./worker.${extension}`, import.meta.url), {
    workerData: settings,
    // What the program was started with may make no sense for a file.
    execArgv: [],
  })
}

export class Connection {
  /** @throws LedgerSetupError, LedgerUnavailable when the file cannot be opened. */
  static async open(worker: Worker, file: string): Promise<Connection> {
    const connection = new Connection(worker, file)
    try {
      await connection.#answerTo(0)
      return connection
    } catch (error) {
      await worker.terminate()
      throw error
    }
  }

  /** Whether its thread has ended, by whatever cause. */
  hasEnded = false
  readonly #worker: Worker
  readonly #file: string
  readonly #pending = new Map<number, Pending>()
  #exchanges = 0
  #crash: Error | undefined

  private constructor(worker: Worker, file: string) {
    this.#worker = worker
    this.#file = file
    worker.on('message', (answer: Received) => this.#receive(answer))
    worker.on('error', (error: Error) => {
      this.#crash = error
    })
    worker.on('exit', () => this.#end())
  }

  ask<Q extends Question>(question: Q, input: Exchange[Q][0]): Promise<Exchange[Q][1]> {
    if (this.hasEnded) return Promise.reject(this.#endedError())
    this.#exchanges++
    const asked: Asked<Q> = { exchange: this.#exchanges, question, input }
    const output = this.#answerTo<Exchange[Q][1]>(asked.exchange)
    this.#worker.postMessage(asked)
    return output
  }

  /** Lets go of the file, and ends the thread. */
  async close(): Promise<void> {
    const hasExited = new Promise((resolve) => this.#worker.once('exit', resolve))
    if (this.hasEnded) return
    try {
      await this.ask('close', null)
    } finally {
      await hasExited
    }
  }

  #answerTo<T>(exchange: number): Promise<T> {
    return new Promise<T>((resolve, reject) => this.#pending.set(exchange, { resolve, reject }))
  }

  #receive(answer: Received): void {
    const pending = this.#pending.get(answer.exchange)
    this.#pending.delete(answer.exchange)
    if (answer.kind === 'done') pending?.resolve(answer.output)
    else pending?.reject(errorOf(answer))
  }

  #end(): void {
    this.hasEnded = true
    for (const { reject } of this.#pending.values()) reject(this.#endedError())
    this.#pending.clear()
  }

  #endedError(): LedgerUnavailable {
    const why = this.#crash ? `: ${this.#crash.message}` : ''
    return new LedgerUnavailable(`ledger ${this.#file}: its thread ended${why}`, this.#crash)
  }
}

function errorOf(answer: Exclude<Answer, { kind: 'done' }>): Error {
  switch (answer.kind) {
    case 'unavailable':
      return new LedgerUnavailable(answer.message)
    case 'setup':
      return new LedgerSetupError(answer.message)
    case 'failed':
      return new Error(answer.message)
  }
}
