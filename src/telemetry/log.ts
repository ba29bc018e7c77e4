// The log. Owns: where lines go and how they look. Must not know: what the events mean, or anything
// of a request beyond the fields that log-event.ts names.
import { isatty } from 'node:tty'
import { pino } from 'pino'
import pretty from 'pino-pretty'
import { openBatchedSink, type Sink } from './batched-sink.ts'
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
  const sink = typeof destination === 'number' ? openBatchedSink(destination) : destination
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
