// The log. Owns: where lines go and how they look. Must not know: what the events mean, or anything
// of a request beyond the fields that log-event.ts names.
import { isatty } from 'node:tty'
import { pino } from 'pino'
import pretty from 'pino-pretty'
import { errorLine, type LogEvent, type LogLevel, levelOf, lineOf } from './log-event.ts'

export type { LogEvent } from './log-event.ts'

export interface Log {
  event(event: LogEvent): void
  /** A sentence of Headgate's own, such as a warning about the configuration. */
  warn(sentence: string): void
  /** Something that must not fail has failed. `what` is ours; of `error` no message is written. */
  error(what: string, error: unknown): void
  /** Writes out what is buffered: before the process ends. */
  flush(): void
}

/** What lines are written to. */
export interface Sink {
  write(text: string): unknown
  flushSync?(): void
}

export interface LogOptions {
  readonly level: LogLevel
  /** `auto` is pretty on a terminal and json elsewhere. */
  readonly format: 'auto' | 'pretty' | 'json'
  /** A file descriptor, or anything that takes text. */
  readonly destination: number | Sink
}

export function createLog({ level, format, destination }: LogOptions): Log {
  const isTerminal = typeof destination === 'number' && isatty(destination)
  const isPretty = format === 'pretty' || (format === 'auto' && isTerminal)
  const sink = typeof destination === 'number' ? openSink(destination) : destination
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    isPretty ? prettySink(sink, isTerminal) : { write: (line) => void sink.write(line) },
  )
  return {
    event(event) {
      const level = levelOf(event)
      if (logger.isLevelEnabled(level)) logger[level](lineOf(event))
    },
    warn: (sentence) => logger.warn({ event: 'gate.warned', sentence }),
    error: (what, error) => logger.error({ event: 'gate.failed', what, ...errorLine(error) }),
    flush: () => sink.flushSync?.(),
  }
}

const BATCH_LENGTH = 16_384
const BATCH_MS = 50
/** A reader that has stalled costs no more memory than this; later lines are dropped. */
const LONGEST_BACKLOG_BYTES = 2 ** 26

/**
 * Writes in batches, off this thread: a write for each line would cost more than all else that the
 * log does, and a reader that has stalled must not stop the gate.
 */
function openSink(fd: number): Sink {
  const stream = pino.destination({ dest: fd, sync: false, maxLength: LONGEST_BACKLOG_BYTES })
  // A full disk or a reader that has gone must not stop the gate either.
  stream.on('error', () => {})
  let batch = ''
  let isDue = false
  const pass = (): void => {
    if (batch !== '') stream.write(batch)
    batch = ''
    isDue = false
  }
  const flushSync = (): void => {
    pass()
    stream.flushSync()
  }
  process.once('exit', flushSync)
  return {
    flushSync,
    write(text) {
      batch += text
      if (batch.length >= BATCH_LENGTH) return pass()
      if (!isDue) setTimeout(pass, BATCH_MS).unref()
      isDue = true
    },
  }
}

/** Formats in this thread: a terminal is read by one person, and the last lines must not be lost. */
function prettySink(sink: Sink, isTerminal: boolean): Sink & { write(line: string): void } {
  const prettify = pretty.prettyFactory({
    messageKey: 'event',
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    colorize: isTerminal && pretty.isColorSupported,
  })
  return { write: (line) => void sink.write(prettify(line)) }
}
