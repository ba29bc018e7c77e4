// A worker that is killed while it holds a lease: its slot is the next one's once its time is over.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import { openHarness } from '../harness.ts'

const TTL_MS = 1000
const CLIENT = pathToFileURL(`${import.meta.dirname}/../../src/client/connect.ts`)

/** Says when it has its lease, and works for ever. */
const WORKER = `
import { connect } from '${CLIENT}'
const lease = await connect({ url: process.argv[1] }).acquire('model', { ttlMs: ${TTL_MS} })
process.stdout.write(lease.id)
setInterval(() => {}, 1000)
`

it('frees its slot within the time of its lease', async () => {
  await using gate = await openHarness({ config: 'resources: { model: { concurrency: 1 } }' })
  const worker = spawn(process.execPath, ['--input-type=module', '-e', WORKER, '--', gate.url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(worker.stdout, 'data')
  const grantedAt = performance.now()
  const next = connect({ url: gate.url }).acquire('model')
  // Its renewals keep it for longer than it was granted for.
  const first = await Promise.race([next.then(() => 'the next'), renewedTwice(gate.url)])
  expect(first).toBe('renewed')
  worker.kill('SIGKILL')
  const killedAt = performance.now()
  const lease = await next
  expect(performance.now() - grantedAt).toBeGreaterThan(TTL_MS)
  expect(performance.now() - killedAt).toBeLessThan(TTL_MS + 250)
  await lease.settle()
})

/** Resolves once the lease that is held would have ended without its holder's signs of life. */
async function renewedTwice(url: string): Promise<string> {
  const heldUntil = async (): Promise<number> => {
    const { leases } = await (await fetch(`${url}/headgate/v1/leases`)).json()
    return leases.find(({ state }: { state: string }) => state === 'held')?.expiresAt ?? 0
  }
  const from = await heldUntil()
  for (;;) {
    const now = await heldUntil()
    if (now === 0) return 'lost'
    if (now > from + TTL_MS) return 'renewed'
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
