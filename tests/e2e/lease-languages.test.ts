// Programs without a client of ours get over a gate that stops or dies, as their guide says.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { startBalancer } from '../balancer.ts'
import { ROOT } from '../docs/markdown.ts'
import { type GatewayProcess, startGateway } from '../gateway-process.ts'
import { until } from '../harness.ts'
import { acquire, askGate, hold, LEASES, settle } from '../lease-caller.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'

const PROGRAM = `
from lease import lease
with lease("one") as held:
    print("granted")
`

async function startGate(store: string): Promise<GatewayProcess> {
  const folder = await mkdtemp(path.join(tmpdir(), 'headgate-python-'))
  const file = path.join(folder, 'headgate.yaml')
  await writeFile(file, 'resources: { one: { concurrency: 1 } }\nlog: { format: json }\n')
  const gate = await startGateway('--config', file, '--store', store)
  await rm(folder, { recursive: true })
  return gate
}

const waitingAt = async (url: string): Promise<number> => {
  const { document } = await askGate(url, LEASES)
  return document.leases?.filter(({ state }) => state === 'waiting').length ?? 0
}

describe.skipIf(spawnSync('python3', ['--version']).status !== 0)('a program in Python', () => {
  it.each(['terminate', 'kill'] as const)(
    'that waits at a gate which is told to %s keeps its place at another',
    async (end) => {
      const store = `${(await sharedRedis()).url}?prefix=${freshPrefix()}`
      const [first, second] = await Promise.all([startGate(store), startGate(store)])
      await using balancer = await startBalancer([first.url])
      try {
        const held = await hold(second.url, { resource: 'one' })
        const python = spawn('python3', ['-c', PROGRAM], {
          env: {
            PATH: process.env.PATH,
            HEADGATE_URL: balancer.url,
            PYTHONPATH: path.join(ROOT, 'examples/leases'),
            PYTHONDONTWRITEBYTECODE: '1',
          },
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        let output = ''
        python.stdout.on('data', (chunk: Buffer) => {
          output += chunk.toString()
        })
        await until(async () => (await waitingAt(second.url)) === 1)
        const later = acquire(second.url, { resource: 'one' })
        await until(async () => (await waitingAt(second.url)) === 2)
        balancer.balanceOver([second.url])
        await first[end]()
        await settle(second.url, held)
        const [code] = await once(python, 'close')
        expect([code, output]).toEqual([0, 'granted\n'])
        // Whoever came later had to wait for it.
        expect((await later).status).toBe(201)
      } finally {
        await Promise.all([first.kill(), second.kill()])
      }
    },
  )
})
