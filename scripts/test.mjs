// Runs the suite: says on which Node, and ends with one line that is easy to read by machine,
// `N passed, N failed`. Arguments go to vitest.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import process from 'node:process'

const RESULTS = '.cache/tests.json'
/** The last line, kept for a caller that prints more. */
const SUMMARY = '.cache/tests.txt'

const [major, minor] = process.versions.node.split('.').map(Number)
process.stdout.write(`Node ${process.version}\n`)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write('The tests need Node 22.19 or newer. Run them with "npm test".\n')
  process.exit(1)
}

mkdirSync('.cache', { recursive: true })
rmSync(RESULTS, { force: true })
const { status } = spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${RESULTS}`,
    ...process.argv.slice(2),
  ],
  { stdio: ['ignore', 'inherit', 'inherit'] },
)
const summary = summarize()
writeFileSync(SUMMARY, `${summary}\n`)
process.stdout.write(`${summary}\n`)
process.exitCode = status ?? 1

/** A run that failed outside of any test, such as in an import, counts as one failure. */
function summarize() {
  const { passed, failed } = readResults()
  return `${passed} passed, ${status === 0 ? failed : Math.max(failed, 1)} failed`
}

function readResults() {
  try {
    const results = JSON.parse(readFileSync(RESULTS, 'utf8'))
    return { passed: results.numPassedTests, failed: results.numFailedTests }
  } catch {
    return { passed: 0, failed: 0 }
  }
}
