// Runs each `check:` script of package.json, in the order in which it stands there. A check is quiet
// when it passes; all of them run, so that one go shows everything there is to mend.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import process from 'node:process'

const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'))
const checks = Object.entries(scripts).filter(([name]) => name.startsWith('check:'))
const failed = checks.filter((check) => !passes(check))
process.exitCode = failed.length > 0 ? 1 : 0

/** Runs where npm has put node_modules/.bin on the path. */
function passes([name, command]) {
  const startedAt = performance.now()
  const { status, stdout, stderr } = spawnSync(command, {
    shell: true,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  process.stdout.write(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)\n`)
  if (status !== 0) process.stdout.write(stdout + stderr)
  return status === 0
}
