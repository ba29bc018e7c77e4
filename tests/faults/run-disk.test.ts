// A job whose disk is full in the middle of the night. Must not know: how a job keeps what it has.
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { z } from 'zod'
import { main } from '../../src/cli/main.ts'
import { realClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { startEmulator } from '../../src/emulator/emulator.ts'
import { type FakeIo, fakeIo } from '../cli/fake-io.ts'
import { until } from '../servers/until.ts'

const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-run-disk-'))
const disk = path.join(folder, 'disk')
const [input, output, ballast] = [
  path.join(folder, 'prompts.jsonl'),
  path.join(disk, 'answers.jsonl'),
  path.join(disk, 'ballast'),
]
await mkdir(disk)
const canMount =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', disk]).status === 0

const emulator = await startEmulator({
  clock: realClock(),
  random: seededRandom(1),
  settings: {
    ttftMs: 20,
    tokensPerSecond: 5000,
    limits: { requests: 1_000_000, inputTokens: 100_000_000, outputTokens: 100_000_000 },
  },
})
afterAll(async () => {
  await emulator.close()
  if (canMount) spawnSync('umount', [disk])
  await rm(folder, { recursive: true })
})

const named = z.object({ id: z.string() })

async function answers(): Promise<string[]> {
  const text = await readFile(output, 'utf8').catch(() => '')
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => named.parse(JSON.parse(line)).id)
}

function run(): { io: FakeIo; ended: Promise<number> } {
  const io = fakeIo({ folder, env: { ANTHROPIC_API_KEY: 'a-key' } })
  const flags = ['--max-in-flight', '4', '--upstream', `anthropic=${emulator.url}`]
  return { io, ended: main(['run', input, '-o', output, ...flags], io) }
}

it.skipIf(!canMount)(
  'ends with what is wrong, loses nothing, and goes on when there is room',
  async () => {
    const ids = Array.from({ length: 300 }, (_, at) => `prompt-${at}`)
    const lines = ids.map((id) => {
      const messages = [{ role: 'user', content: `About ${id}.` }]
      return `${JSON.stringify({ id, model: 'claude-haiku-4-5', max_tokens: 50, messages })}\n`
    })
    await writeFile(input, lines.join(''))

    const first = run()
    await until('there are answers', async () => (await answers()).length > 5)
    spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=4k'])
    expect(await first.ended).toBe(1)
    expect(first.io.err()).toMatch(/cannot be written: no space is left on the device\n/)
    const kept = await answers()
    expect(kept.length).toBeGreaterThan(5)
    expect(kept.length).toBeLessThan(300)
    // What was under way was waited for, and nothing else was sent.
    expect(emulator.report().totals.admitted - kept.length).toBeLessThan(64)

    const still = run()
    expect(await still.ended).toBe(1)
    expect(still.io.err()).toContain('cannot be written')

    await rm(ballast)
    const last = run()
    expect([await last.ended, last.io.err()]).toEqual([0, ''])
    expect((await answers()).sort()).toEqual(ids.sort())
  },
)
