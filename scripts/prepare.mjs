// Makes a clone ready to run: installs what is missing, builds what is older than its source.
// Runs before `npm start`, `npm test` and `npm run check`, on whatever Node the machine has, so it
// imports no package and uses nothing newer than Node 20.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
process.chdir(root)

/** npm writes it last: an install that was interrupted has none. */
const INSTALLED = 'node_modules/.package-lock.json'
const PINNED_NODE = 'node_modules/.bin/node'
const BUILT = 'dist/.built'
const SOURCES = ['src', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json']

if (isOlder(INSTALLED, ['package-lock.json'])) install()
checkNode()
if (isOlder(BUILT, SOURCES)) build()

function install() {
  say('installing dependencies')
  // npm names itself here when it runs a script; started by hand, it is found on the path.
  const npm = process.env.npm_execpath
  const [command, args] = npm ? [process.execPath, [npm]] : ['npm', []]
  // Not `npm ci`: it refuses a lock file that leaves out other platforms' binaries. This one takes
  // what is locked all the same, and writes nothing.
  run(command, [...args, 'install', '--no-save', '--include=dev', '--loglevel=error'])
  utimesSync(INSTALLED, new Date(), new Date())
}

function checkNode() {
  if (isNewEnough(process.version)) return
  const { stdout } = spawnSync(PINNED_NODE, ['--version'], { encoding: 'utf8' })
  if (isNewEnough(stdout ?? '')) return
  fail(
    `Node 22.19 or newer is needed, this is ${process.version}, and the repository's own Node was ` +
      'not installed: run "npm ci --ignore-scripts=false", or use a newer Node',
  )
}

function build() {
  say('building')
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'])
  writeFileSync(BUILT, '')
}

/** Whether a file is missing, or any of the sources (folders with all they hold) is newer. */
function isOlder(file, sources) {
  if (!existsSync(file)) return true
  const { mtimeMs } = statSync(file)
  return sources.some((source) => newestIn(source) > mtimeMs)
}

/** A folder's own time counts too: it changes when a file is deleted. */
function newestIn(source) {
  const stats = statSync(source)
  if (!stats.isDirectory()) return stats.mtimeMs
  const inside = readdirSync(source).map((name) => newestIn(path.join(source, name)))
  return Math.max(stats.mtimeMs, ...inside)
}

function isNewEnough(version) {
  const [major, minor] = version.replace('v', '').split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 19)
}

/** What a program prints goes to stderr: the output of `npm start` is the gateway's. */
function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2] })
  if (status !== 0) fail(error ? error.message : `${path.basename(args[0])} failed`)
}

function say(what) {
  process.stderr.write(`headgate: ${what}\n`)
}

function fail(why) {
  say(why)
  process.exit(1)
}
