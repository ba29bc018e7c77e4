// headgate serve: runs the gateway until it is told to stop. Owns: what is printed at the start, and
// stopping without losing a call. Must not know: how calls are governed.
import { statusOf } from '../control/status.ts'
import { LedgerSetupError, LedgerUnavailable } from '../ledger/ledger.ts'
import { ConfigError } from '../policy/problem.ts'
import { type Loaded, loadSettings } from '../policy/resolve.ts'
import { type Flags, SETTINGS } from '../policy/setting-table.ts'
import type { Settings } from '../policy/settings.ts'
import { ConfigWatch } from '../policy/watch.ts'
import { StoreSetupError } from '../stores/redis/server-check.ts'
import { createLog, type Log } from '../telemetry/log.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'
import { listenFailure, localUrl } from './listen-failure.ts'
import { logDispatch } from './log/dispatch-log.ts'
import { GateWatch } from './log/gate-watch.ts'
import { logLedger } from './log/ledger-log.ts'
import { logStore } from './log/store-log.ts'
import { Story } from './log/story.ts'
import { type Paint, paintFor } from './terminal/paint.ts'
import { headgateVersion } from './version.ts'
import { type GatewayEvents, type Wired, wire } from './wire.ts'

/** What is wrong is for the operator to mend; the message says it. */
const SETUP_ERRORS = [StoreSetupError, LedgerSetupError, LedgerUnavailable]

export async function runServe(flags: Flags, io: Io): Promise<ExitCode> {
  const loaded = load(flags, io)
  if (!loaded) return EXIT.usage
  const { settings, warnings } = loaded
  const log = openLog(loaded, io)
  const wired = await open(loaded, log, io)
  if (!wired) return EXIT.failed
  const url = await listen(wired, settings, io)
  if (url === null) return EXIT.failed
  if (log instanceof Story) io.stdout.write(banner(url, settings, paintFor(io.stdout, io.env)))
  else log.event({ kind: 'gate.listening', url, store: settings.store.shown })
  for (const warning of [...warnings, ...wired.warnings]) log.warn(warning)
  const watch = watchConfig({ loaded, flags, wired, log, io })
  const exitCode = await untilStopped(wired, log, io, () => watch.reload())
  await watch.close()
  log.flush()
  return exitCode
}

function load(flags: Flags, io: Io): Loaded | null {
  try {
    return loadSettings(flags, io.env, io.folder)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const problem of error.problems) io.stderr.write(`${problem}\n`)
    return null
  }
}

function openLog({ settings }: Loaded, { stdout, env, clock }: Io): Log {
  const { level, format } = settings.log
  const isStory = format === 'pretty' || (format === 'auto' && stdout.isTTY)
  if (isStory) return new Story({ level, output: stdout, paint: paintFor(stdout, env), clock })
  return createLog({ level, format: 'json', destination: stdout.fd ?? stdout })
}

/** A gateway, or null when its store is not what it should be: the user has been told why. */
async function open(
  { settings }: Loaded,
  log: Log,
  { clock, random, stderr }: Io,
): Promise<Wired | null> {
  let wired: Wired | null = null
  const watch = new GateWatch({
    clock,
    log,
    snapshot: async () => (await wired?.store.snapshot()) ?? [],
    ...(log instanceof Story ? { waiting: (line) => log.waiting(line) } : {}),
  })
  const events: GatewayEvents = {
    ...logDispatch(log, watch),
    ...logStore(log),
    ...logLedger(log),
    turnedAway: (reason) => log.event({ kind: 'request.turned_away', reason }),
    warned: (sentence) => log.warn(sentence),
  }
  try {
    wired = await wire({ settings, clock, random, events })
    return wired
  } catch (error) {
    const isSetup = SETUP_ERRORS.some((kind) => error instanceof kind)
    if (!(error instanceof Error) || !isSetup) throw error
    stderr.write(`headgate: ${error.message}\n`)
    return null
  }
}

interface ConfigWatchSource {
  readonly loaded: Loaded
  readonly flags: Flags
  readonly wired: Wired
  readonly log: Log
  readonly io: Io
}

/** Reads the configuration again when it changes. What is wrong is told, and the old one stays. */
function watchConfig({ loaded, flags, wired, log, io }: ConfigWatchSource): ConfigWatch {
  return new ConfigWatch({
    load: () => loadSettings(flags, io.env, io.folder),
    loaded,
    folder: io.folder,
    onLoaded: ({ settings, file, warnings }) => {
      const fixed = putInForce(settings, wired, log)
      if (!fixed) return
      log.event({ kind: 'policy.reloaded', file: file ?? '' })
      for (const key of fixed) log.warn(`${key} has changed: it counts from the next start on`)
      for (const warning of warnings) log.warn(warning)
    },
    onRefused: (problems) => tellRefused(problems, log),
    onFailed: (error) => log.error('watching the configuration', error),
  })
}

/** The keys that need a new start, or null where the settings can't be held to: that is told. */
function putInForce(settings: Settings, wired: Wired, log: Log): readonly string[] | null {
  try {
    return wired.reconfigure(settings)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    tellRefused(error.problems, log)
    return null
  }
}

function tellRefused(problems: readonly string[], log: Log): void {
  for (const problem of problems) log.warn(`the configuration is not taken over: ${problem}`)
}

/** Where the gateway listens, or null when its address can't be had: the user has been told why. */
async function listen(wired: Wired, settings: Settings, { stderr }: Io): Promise<string | null> {
  try {
    return await wired.gateway.listen()
  } catch (error) {
    await wired.close()
    const why = listenFailure(error, settings)
    if (why === null) throw error
    stderr.write(`headgate: ${why}\n`)
    return null
  }
}

function banner(
  url: string,
  { host, port }: { readonly host: string; readonly port: number },
  paint: Paint,
): string {
  const base = localUrl(url)
  const isUsual = host === SETTINGS.host.default && port === SETTINGS.port.default
  const status = `headgate status --watch${isUsual ? '' : ` --url ${base}`}`
  const paste = `export ANTHROPIC_BASE_URL=${base}`
  const width = Math.max(paste.length, status.length)
  return `${paint('bold', 'Headgate')} ${headgateVersion()} listens on ${paint('bold', url)}

  ${paint('cyan', paste.padEnd(width))}   ${paint('dim', 'send your agents through it')}
  ${paint('cyan', status.padEnd(width))}   ${paint('dim', 'see who waits, and for what')}

`
}

/**
 * Ends at a signal: nothing new is taken, those who wait are told, those under way are finished. A
 * second signal ends those too. So does an error that nobody caught: after that nothing is certain.
 * SIGHUP ends nothing: it has the configuration read again.
 */
async function untilStopped(
  wired: Wired,
  log: Log,
  { process }: Io,
  reload: () => void,
): Promise<ExitCode> {
  const { promise, resolve } = Promise.withResolvers<ExitCode>()
  let isStopping = false
  const endNow = (): void => {
    wired.gateway.closeNow()
    resolve(EXIT.failed)
  }
  const onCrash = (error: unknown): void => {
    log.error('headgate', error)
    endNow()
    // Connections to a store would keep the process alive.
    if (!isStopping) wired.close().catch((late: unknown) => log.error('headgate', late))
  }
  const onSignal = (signal: NodeJS.Signals): void => {
    if (isStopping) {
      endNow()
      return
    }
    isStopping = true
    stop(wired, log, signal).then(() => resolve(EXIT.ok), onCrash)
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal).on('uncaughtException', onCrash)
  process.on('SIGHUP', reload)
  try {
    return await promise
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal).off('uncaughtException', onCrash)
    process.off('SIGHUP', reload)
  }
}

async function stop(wired: Wired, log: Log, signal: string): Promise<void> {
  const { clock } = wired.dispatcher
  const { inFlight, queued } = await statusOf({ clock, store: wired.store })
  log.event({ kind: 'gate.stopping', signal, inFlight, queued })
  await wired.close()
  log.event({ kind: 'gate.stopped' })
}
