// A worker that is killed while it holds a lease: its slot is the next one's once its time is over.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { connect } from '../../src/client/connect.ts'
import { openHarness } from '../harness.ts'
import { until } from '../servers/until.ts'

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
  const next = connect({ url: gate.url }).acquire('model')
  // Its renewals keep it for longer than it was granted for.
  const endsAt = await expiryAt(gate.url)
  await until(
    'it is renewed again and again',
    async () => (await expiryAt(gate.url)) > endsAt + TTL_MS,
  )
  worker.kill('SIGKILL')
  await once(worker, 'exit')
  const freesAt = await expiryAt(gate.url)
  expect(freesAt).toBeLessThanOrEqual(gate.clock.now() + TTL_MS)
  const lease = await next
  expect(lease.grantedAt).toBeGreaterThanOrEqual(freesAt - 1)
  expect(lease.grantedAt).toBeLessThan(freesAt + TTL_MS)
  await lease.settle()
})

const listed = z.object({
  leases: z.array(z.object({ state: z.string(), expiresAt: z.number().nullable() })),
})

/** When the lease that is held ends without a sign of life. */
async function expiryAt(url: string): Promise<number> {
  const answer = await fetch(`${url}/headgate/v1/leases`)
  const { leases } = listed.parse(await answer.json())
  const held = leases.find(({ state }) => state === 'held')
  if (!held?.expiresAt) throw new Error('nobody holds a lease')
  return held.expiresAt
}
