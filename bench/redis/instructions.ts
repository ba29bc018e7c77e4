// Counts the processor instructions of a turn, Headgate's and its ceiling's, with valgrind: slow, but the
// same on a busy machine. Usage: node bench/redis/instructions.ts; writes nothing.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { say } from '../report.ts'
import { program } from './gate-commands.ts'
import { RespClient } from './resp-client.ts'
import { type Load, longLine, nobodyWaiting } from './turn-loads.ts'

const STEPS = 16
const START_MS = 20_000

const folder = mkdtempSync(join(tmpdir(), 'headgate-instructions-'))
const port = await freePort()
const url = `redis://127.0.0.1:${port}`
const server = spawn(
  'valgrind',
  [
    '--tool=callgrind',
    '--instr-atstart=no',
    `--callgrind-out-file=${join(folder, 'out')}`,
    ...['redis-server', '--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', folder],
  ],
  { stdio: 'ignore' },
)
process.on('exit', () => {
  server.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})
const client = await connected(performance.now() + START_MS)
await client.call('FUNCTION', 'LOAD', program.library())
for (const situation of [nobodyWaiting, longLine]) {
  const { what, headgate, ceiling } = await situation(url)
  const [ours, theirs] = [await instructionsOf(headgate), await instructionsOf(ceiling)]
  const part = `${Math.round((100 * theirs) / ours)} % of the ceiling`
  say(`${what}: ${ours.toFixed(0)} a turn, ceiling ${theirs.toFixed(0)}: ${part}`)
}
process.exit()

async function instructionsOf(load: Load): Promise<number> {
  await load(afterSteps())
  control('--instr=on')
  control('--zero')
  const turns = await load(afterSteps())
  control('--dump')
  control('--instr=off')
  const dumps = readdirSync(folder).filter((name) => /^out\.\d+$/.test(name))
  const newest = dumps.toSorted((a, b) => Number(a.slice(4)) - Number(b.slice(4))).at(-1) ?? ''
  const [, count] =
    /^(?:summary|totals): (\d+)/m.exec(readFileSync(join(folder, newest), 'utf8')) ?? []
  return Number(count) / turns
}

function afterSteps(): () => boolean {
  let steps = 0
  return () => ++steps > STEPS
}

function control(order: string): void {
  spawnSync('callgrind_control', [order, `${server.pid}`])
}

async function connected(until: number): Promise<RespClient> {
  for (;;) {
    try {
      const first = await RespClient.connect(url)
      await first.call('PING')
      return first
    } catch (error) {
      if (performance.now() > until) throw error
      await sleep(100)
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0))
    })
  })
}
