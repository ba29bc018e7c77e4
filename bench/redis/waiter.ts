// A process that holds a resource's only slot or waits for it, as it is told. Usage: started by
// release-latency.ts with the server's address.
import { NOTHING } from '../../src/core/cost.ts'
import { settingsWith, ticket } from '../gate/contenders.ts'
import { openStore } from './open-store.ts'

export type Order =
  | { readonly kind: 'enqueue'; readonly id: string }
  | { readonly kind: 'settle'; readonly id: string }
/** Instants are of the machine's monotonic clock, the same for all processes. */
export type News =
  | { readonly kind: 'ready' }
  | { readonly kind: 'enqueued'; readonly id: string }
  | { readonly kind: 'settling'; readonly id: string; readonly atMs: number }
  | { readonly kind: 'granted'; readonly id: string; readonly atMs: number }

const [url = ''] = process.argv.slice(2)
const slot = {
  algorithm: 'concurrency',
  dimension: 'concurrency',
  amount: 1,
  source: 'configured',
} as const
const { store } = await openStore(url, () => settingsWith([slot]))
store.onGrant(({ id }) => tell({ kind: 'granted', id, atMs: nowMs() }))
process.on('message', (order: Order) => void obey(order))
process.once('disconnect', () => process.exit())
tell({ kind: 'ready' })

async function obey({ kind, id }: Order): Promise<void> {
  if (kind === 'enqueue') {
    const placement = await store.enqueue(ticket(id, 'slot', 'agent'))
    tell({ kind: 'enqueued', id })
    if (placement.kind === 'admitted') tell({ kind: 'granted', id, atMs: nowMs() })
    return
  }
  const atMs = nowMs()
  await store.settle('slot', id, { ...NOTHING, requests: 1 }, true)
  tell({ kind: 'settling', id, atMs })
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

function tell(news: News): void {
  process.send?.(news)
}
