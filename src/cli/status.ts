// headgate status: asks a running gateway what it is doing. Owns: asking, once or again and again.
// Must not know: how the answer is laid out, or how it came about.
import type { Command } from 'commander'
import { type Status, statusSchema } from '../control/status.ts'
import { SETTINGS } from '../policy/setting-table.ts'
import { baseUrl } from '../policy/values.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { checkedFlag } from './flags.ts'
import type { Io } from './io.ts'
import { pause } from './pause.ts'
import { statusLines } from './status-view.ts'
import { stopWish } from './stop.ts'
import { columnsOf, LiveScreen } from './terminal/live-screen.ts'
import { paintFor } from './terminal/paint.ts'

export interface StatusFlags {
  readonly url: string
  readonly json?: boolean
  readonly watch?: boolean
}

const DEFAULT_URL = `http://${SETTINGS.host.default}:${SETTINGS.port.default}`
const EVERY_MS = 1000
const TIMEOUT_MS = 5000

export function addStatusFlags(command: Command): Command {
  return command
    .addOption(
      checkedFlag('--url URL', 'Where the gateway listens.', baseUrl).default(
        DEFAULT_URL,
        DEFAULT_URL,
      ),
    )
    .option('--json', 'Print what GET /headgate/v1/status answers.')
    .option('--watch', 'Show it again every second, until you stop it.')
}

export async function runStatus(flags: StatusFlags, io: Io): Promise<ExitCode> {
  const first = await ask(flags.url)
  if (first.kind === 'failed') {
    io.stderr.write(`headgate: ${first.why}\n`)
    return EXIT.failed
  }
  if (!flags.watch) io.stdout.write(asText(first.status, flags, io))
  else if (io.stdout.isTTY && !flags.json) await watchOnScreen(flags, io)
  else return watchInLines(flags, io)
  return EXIT.ok
}

type Answer =
  | { readonly kind: 'answered'; readonly status: Status }
  | { readonly kind: 'failed'; readonly why: string }

async function ask(url: string, stop?: AbortSignal): Promise<Answer> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS)
  const signal = stop ? AbortSignal.any([timeout, stop]) : timeout
  try {
    const response = await fetch(`${url}/headgate/v1/status`, { signal })
    const status = statusSchema.safeParse(await response.json())
    if (status.success) return { kind: 'answered', status: status.data }
  } catch (error) {
    // What answers without JSON is something else.
    if (!(error instanceof SyntaxError)) return { kind: 'failed', why: silence(url) }
  }
  return { kind: 'failed', why: `what answers at ${url} is no gate: name another with --url` }
}

const silence = (url: string): string =>
  `no gate answers at ${url}: start one with "headgate", or name it with --url`

function asText(status: Status, { url, json, watch }: StatusFlags, io: Io): string {
  if (json) return `${JSON.stringify(status, null, watch ? 0 : 2)}\n`
  const paint = paintFor(io.stdout, io.env)
  const view = { url, now: io.clock.now(), columns: columnsOf(io.stdout), paint }
  return `${statusLines(status, view).join('\n')}\n`
}

/** Goes on when the gateway is gone for a while, and shows that it is. */
async function watchOnScreen({ url }: StatusFlags, io: Io): Promise<void> {
  using stop = stopWish(io)
  using screen = new LiveScreen(io.stdout)
  const paint = paintFor(io.stdout, io.env)
  while (!stop.signal.aborted) {
    const answer = await ask(url, stop.signal)
    if (stop.signal.aborted) return
    const view = { url, now: io.clock.now(), columns: screen.columns, paint }
    screen.draw(
      answer.kind === 'answered' ? statusLines(answer.status, view) : [paint('red', answer.why)],
    )
    await pause(io.clock, EVERY_MS, stop.signal)
  }
}

async function watchInLines(flags: StatusFlags, io: Io): Promise<ExitCode> {
  using stop = stopWish(io)
  while (!stop.signal.aborted) {
    const answer = await ask(flags.url, stop.signal)
    if (stop.signal.aborted) break
    if (answer.kind === 'failed') {
      io.stderr.write(`headgate: ${answer.why}\n`)
      return EXIT.failed
    }
    io.stdout.write(`${asText(answer.status, flags, io)}${flags.json ? '' : '\n'}`)
    await pause(io.clock, EVERY_MS, stop.signal)
  }
  return EXIT.ok
}
