// Runs before the tests that need servers. Owns: that there is a Postgres, where one can be had. Must not
// know: who starts it.
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { hasPrograms } from './postgres-process.ts'

const HINT =
  'the tests need Postgres 13 or newer: run "sudo apt-get install postgresql", or put initdb on the PATH'

/** Vitest calls it once, before the first test. */
export default function installPostgres(): void {
  if (hasPrograms()) return
  if (process.getuid?.() !== 0) throw new Error(HINT)
  process.stderr.write('headgate: installing postgresql for the tests\n')
  const script = path.join(import.meta.dirname, 'install-postgres.sh')
  // What it prints goes to stderr.
  const { status } = spawnSync('sh', [script], { stdio: ['ignore', 2, 2] })
  if (status !== 0 || !hasPrograms()) throw new Error(HINT)
}
