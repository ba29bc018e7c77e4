// What all benchmarks share: where they ran, and where their figures are written.
// Must not know: what was measured.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'

const BENCH = import.meta.dirname

export interface Setting {
  readonly machine: string
  readonly node: string
  readonly date: string
  readonly command: string
  /** Of the minute before the run: figures from a busy machine are worth little. */
  readonly loadAverage: number
}

export function describeSetting(command: string): Setting {
  const gigabytes = Math.round(totalmem() / 2 ** 30)
  return {
    machine: `${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown CPU'}, ${gigabytes} GB, ${process.platform}`,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    command,
    loadAverage: loadavg()[0] ?? 0,
  }
}

export function writeResults(name: string, results: object): void {
  writeFileSync(join(BENCH, 'results', `${name}.json`), `${JSON.stringify(results, null, 2)}\n`)
}

/** Puts text between `<!-- name:begin -->` and `<!-- name:end -->` in the benchmarks' README. */
export function writeSection(name: string, markdown: string): void {
  const path = join(BENCH, 'README.md')
  const readme = readFileSync(path, 'utf8')
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`]
  const from = readme.indexOf(begin)
  const to = readme.indexOf(end)
  if (from < 0 || to < from) throw new Error(`bench/README.md has no ${begin} … ${end}`)
  const before = readme.slice(0, from + begin.length)
  writeFileSync(path, `${before}\n${markdown}\n${readme.slice(to)}`)
}

export function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n')
}

/** Installs the peers' packages, which are not among the root's dependencies. */
export function installPeers(): void {
  const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(
    readFileSync(join(BENCH, 'package.json'), 'utf8'),
  )
  const isThere = (name: string): boolean => existsSync(join(BENCH, 'node_modules', name))
  if (Object.keys(dependencies).every(isThere)) return
  spawnSync('npm', ['ci', '--prefix', BENCH], { stdio: ['ignore', 'ignore', 'inherit'] })
}

export function installedVersion(packageName: string): string {
  const path = join(BENCH, 'node_modules', packageName, 'package.json')
  const { version }: { version: string } = JSON.parse(readFileSync(path, 'utf8'))
  return version
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
