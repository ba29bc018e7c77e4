// The built program as users start it. `npm test` builds it first.
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { afterEach, expect, it } from 'vitest'
import { statusSchema } from '../../src/control/status.ts'
import { realClock } from '../../src/core/clock.ts'
import { type EmulatorOptions, startEmulator } from '../../src/emulator/emulator.ts'

const root = path.join(import.meta.dirname, '../..')

type Child = ChildProcessByStdio<null, Readable, null>

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

/** Starts the program in front of an emulator. `event` resolves with the first line of that kind. */
async function start(settings: EmulatorOptions) {
  const emulator = await startEmulator({ clock: realClock(), random: () => 0.5, settings })
  const child: Child = spawn(
    process.execPath,
    ['bin/headgate.js', 'serve', '--port', '0', '--upstream', `anthropic=${emulator.url}`],
    { cwd: root, env: { HEADGATE_LEDGER: 'off' }, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const exit = once(child, 'exit')
  cleanUps.push(async () => {
    child.kill('SIGKILL')
    await exit
    await emulator.close()
  })
  const seen: Record<string, unknown>[] = []
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (line) => seen.push(JSON.parse(line)))
  const event = async (kind: string): Promise<Record<string, unknown>> => {
    for (;;) {
      const found = seen.find((line) => line.event === kind)
      if (found) return found
      await once(lines, 'line')
    }
  }
  const { url } = await event('gate.listening')
  return { child, exit, event, url: String(url) }
}

function ask(url: string, maxTokens: number): Promise<Response> {
  return fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': 'any', 'anthropic-version': '2023-06-01' },
    body: JSON.stringify({
      model: 'claude-sonnet-4-5',
      max_tokens: maxTokens,
      stream: true,
      messages: [{ role: 'user', content: 'hello' }],
    }),
  })
}

it('serves until SIGTERM, finishes what runs and ends with exit code 0', async () => {
  const { child, exit, event, url } = await start({ ttftMs: 10, tokensPerSecond: 20 })
  const response = await ask(url, 50)
  expect(response.status).toBe(200)
  child.kill('SIGTERM')
  expect(await event('gate.stopping')).toMatchObject({ signal: 'SIGTERM', inFlight: 1, queued: 0 })
  expect(await response.text()).toContain('message_stop')
  expect(await exit).toEqual([0, null])
  expect(await event('request.settled')).toMatchObject({ outcome: 'answered', status: 200 })
  expect(await event('gate.stopped')).toMatchObject({ level: 'info' })
})

it('ends at once at a second signal, with exit code 1', async () => {
  const { child, exit, event, url } = await start({ ttftMs: 10, tokensPerSecond: 1 })
  const response = await ask(url, 800)
  const cut = response.text().then(
    (text) => text.includes('message_stop'),
    () => false,
  )
  child.kill('SIGTERM')
  await event('gate.stopping')
  child.kill('SIGTERM')
  expect(await exit).toEqual([1, null])
  expect(await cut).toBe(false)
})

it('tells those who wait that it stops', async () => {
  const { child, exit, event, url } = await start({
    limits: { requests: 1, inputTokens: 30_000, outputTokens: 8000 },
    ttftMs: 300,
  })
  const answered = await ask(url, 1)
  expect(await answered.text()).toContain('message_stop')
  const waiting = ask(url, 1)
  for (let queued = 0; queued === 0; ) {
    const response = await fetch(`${url}/headgate/v1/status`)
    queued = statusSchema.parse(await response.json()).queued
  }
  child.kill('SIGTERM')
  expect(await event('gate.stopping')).toMatchObject({ queued: 1 })
  const response = await waiting
  expect(response.status).toBe(503)
  expect(await response.text()).toContain('Headgate is shutting down')
  expect(await exit).toEqual([0, null])
})
