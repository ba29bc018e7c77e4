// The configuration file while the gate runs. Owns: when it is read again, and which keys a running gate
// cannot take over. Must not know: what is done with new settings.
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { type FSWatcher, watch } from 'chokidar'
import { ConfigError } from './problem.ts'
import type { Loaded } from './resolve.ts'
import { DEFAULT_CONFIG_FILE } from './setting-table.ts'
import type { Settings } from './settings.ts'

export interface ConfigWatchOptions {
  /** Loads the settings, from the same flags, variables and folder as before. @throws ConfigError */
  readonly load: () => Loaded
  /** What was loaded at the start. */
  readonly loaded: Loaded
  /** Where the file's name begins. */
  readonly folder: string
  readonly onLoaded: (loaded: Loaded) => void
  /** The old settings stay. One line for each problem. */
  readonly onRefused: (problems: readonly string[]) => void
  /** The file can't be watched any more; `reload` still reads it. */
  readonly onFailed: (error: unknown) => void
}

type Outcome =
  | { readonly kind: 'loaded'; readonly loaded: Loaded }
  | { readonly kind: 'refused'; readonly problems: readonly string[] }

/** Editors write in several steps: a file is read when it has kept its size for so long. */
const QUIET_MS = 100
/** What Kubernetes swaps when a mounted ConfigMap changes: the file is a link that leads through it. */
const SWAPPED = '..data'

/** Reads the file again whenever it changes, and tells what came of it when that is something new. */
export class ConfigWatch {
  readonly #options: ConfigWatchOptions
  readonly #watcher: FSWatcher
  #last: Outcome
  readonly #wasBlank: boolean
  /** Null until there is one. */
  #file: string | null
  /** Resolves when changes from now on are seen. */
  readonly ready: Promise<void>

  constructor(options: ConfigWatchOptions) {
    this.#options = options
    this.#last = { kind: 'loaded', loaded: options.loaded }
    this.#file = options.loaded.file
    this.#wasBlank = options.loaded.isBlank
    const file = path.resolve(options.folder, options.loaded.file ?? DEFAULT_CONFIG_FILE)
    this.#watcher = watchFile(file)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ready = promise
    this.#watcher
      .on('ready', resolve)
      .on('all', () => this.#changed())
      .on('error', (error) => options.onFailed(error))
  }

  /** Reads the file again now, and always tells what came of it. */
  reload(): void {
    this.#last = this.#load()
    this.#tell(this.#last)
  }

  async close(): Promise<void> {
    await this.#watcher.close()
  }

  #changed(): void {
    const next = this.#load()
    if (isSame(next, this.#last)) return
    this.#last = next
    this.#tell(next)
  }

  #load(): Outcome {
    try {
      const loaded = this.#options.load()
      const file = this.#file
      this.#file = loaded.file ?? file
      // Settings without their file would take every limit and budget away.
      if (this.#file === loaded.file && (!loaded.isBlank || this.#wasBlank))
        return { kind: 'loaded', loaded }
      // Cut off while it was written, it would take every limit away as well.
      if (this.#file === loaded.file)
        return { kind: 'refused', problems: [`${file}: the file is empty, write it again`] }
      return { kind: 'refused', problems: [`${file}: the file is gone, put it back`] }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      return { kind: 'refused', problems: error.problems }
    }
  }

  #tell(outcome: Outcome): void {
    if (outcome.kind === 'loaded') this.#options.onLoaded(outcome.loaded)
    else this.#options.onRefused(outcome.problems)
  }
}

/** Its folder is watched: the file itself may be replaced by another, or be a link that leads elsewhere. */
function watchFile(file: string): FSWatcher {
  const folder = path.dirname(file)
  const watched = [folder, file, path.join(folder, SWAPPED)]
  return watch(folder, {
    ignored: (name) => !watched.includes(path.resolve(name)),
    depth: 0,
    followSymlinks: false,
    ignoreInitial: true,
    awaitWriteFinish: { stabilityThreshold: QUIET_MS, pollInterval: QUIET_MS / 2 },
  })
}

function isSame(one: Outcome, other: Outcome): boolean {
  if (one.kind === 'loaded' && other.kind === 'loaded')
    return isDeepStrictEqual(one.loaded.settings, other.loaded.settings)
  return isDeepStrictEqual(one, other)
}

/** What a running gate keeps until it is started again, by its keys in the file. */
const FIXED: Readonly<Record<string, (settings: Settings) => unknown>> = {
  listen: ({ host, port }) => [host, port],
  store: ({ store }) => store,
  on_store_failure: ({ onStoreFailure }) => onStoreFailure,
  ledger: ({ ledger }) => ledger,
  'queue.keepalive': ({ queue }) => queue.keepalive,
  max_body_memory: ({ maxBodyMemoryBytes }) => maxBodyMemoryBytes,
  'budget_warnings.webhook': ({ webhook }) => webhook,
  log: ({ log }) => log,
}

/** The keys that differ and that only a new start takes over. */
export function needsRestart(old: Settings, next: Settings): string[] {
  return Object.entries(FIXED)
    .filter(([, of]) => !isDeepStrictEqual(of(old), of(next)))
    .map(([key]) => key)
}
