// Runs before the tests that need servers. Owns: that there is a redis-server, where one can be had.
// Must not know: who starts it.
import { spawnSync } from 'node:child_process'
import path from 'node:path'

const HINT =
  'the tests need redis-server 6.2 or newer: run "sudo apt-get install redis-server", ' +
  'or set HEADGATE_TEST_REDIS=redis://host:port for those that do without one of their own'

/** Vitest calls it once, before the first test. */
export default function installRedis(): void {
  if (process.env.HEADGATE_TEST_REDIS || succeeds('sh', '-c', 'command -v redis-server')) return
  if (process.getuid?.() !== 0) throw new Error(HINT)
  process.stderr.write('headgate: installing redis-server for the tests\n')
  if (!succeeds('sh', path.join(import.meta.dirname, 'install-redis.sh'))) throw new Error(HINT)
}

/** What the program prints goes to stderr. */
function succeeds(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: ['ignore', 'ignore', 2] }).status === 0
}
