// A process whose callers compete with those of others for one resource. Usage: started by tries.ts with
// the server's address, whose turns to take and for how long; says that it is ready, begins when it is
// told to, and says what it took.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { NOTHING } from '../../src/core/cost.ts'
import { settingsWith, ticket } from '../gate/contenders.ts'
import { newLimiter } from './limit-peers.ts'
import { openStore } from './open-store.ts'

/** What a process has seen: `tries` by what was tried. */
export interface Account {
  readonly grants: number
  readonly tries: Readonly<Record<string, number>>
}

export const REQUESTS_PER_SECOND = 40
const CALLERS = 20

type Compete = (ms: number) => Promise<Account>

const [url = '', kind = 'headgate', ms = '1000'] = process.argv.slice(2)
const compete = kind === 'headgate' ? await queue() : poll()
process.send?.('ready')
await once(process, 'message')
process.send?.(await compete(Number(ms)))
process.disconnect?.()
process.exit()

async function queue(): Promise<Compete> {
  const limit = {
    algorithm: 'token_bucket',
    dimension: 'requests',
    amount: REQUESTS_PER_SECOND,
    windowMs: 1000,
    burst: 1,
    source: 'configured',
  } as const
  const { store, sent } = await openStore(url, () => settingsWith([limit]))
  const admit = new Map<string, () => void>()
  store.onGrant(({ id }) => admit.get(id)?.())
  return async (ms) => {
    const endsAt = performance.now() + ms
    let grants = 0
    const caller = async (name: number): Promise<void> => {
      for (let turn = 0; performance.now() < endsAt; turn++) {
        const id = `${process.pid}-${name}-${turn}`
        const admitted = new Promise<void>((resolve) => admit.set(id, resolve))
        const { kind } = await store.enqueue(ticket(id, 'shared', `caller-${process.pid}-${name}`))
        // Also at the end: so that what was asked for is what was granted.
        if (kind === 'waiting') await admitted
        admit.delete(id)
        grants++
        await store.settle('shared', id, { ...NOTHING, requests: 1 }, true)
      }
    }
    await Promise.all(Array.from({ length: CALLERS }, (_, name) => caller(name)))
    return { grants, tries: Object.fromEntries(sent) }
  }
}

function poll(): Compete {
  const limiter = newLimiter(url, REQUESTS_PER_SECOND, 1, 'polled')
  return async (ms) => {
    const endsAt = performance.now() + ms
    let [grants, tries] = [0, 0]
    const caller = async (): Promise<void> => {
      while (performance.now() < endsAt) {
        tries++
        const wait = await limiter.consume('shared', 1).then(
          () => null,
          (refusal: { readonly msBeforeNext: number }) => refusal.msBeforeNext,
        )
        if (wait === null) grants++
        else await sleep(wait)
      }
    }
    await Promise.all(Array.from({ length: CALLERS }, caller))
    return { grants, tries: { consume: tries } }
  }
}
