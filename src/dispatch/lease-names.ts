// What a lease may be asked for. Owns: which resource a name means. Must not know: who asks, or what
// the resource has left.
import type { Store } from '../core/store.ts'
import { suggestion } from '../policy/suggest.ts'
import type { LeasePolicy } from './lease-policy.ts'
import { type LeaseRefusal, leaseRefusal } from './lease-refusals.ts'

export type FoundResource =
  /** @property isLearnt - Its limits are a provider's. */
  | { readonly kind: 'found'; readonly resource: string; readonly isLearnt: boolean }
  | { readonly kind: 'refused'; readonly refusal: LeaseRefusal }

/** `anthropic/claude-sonnet-4`. */
const OF_OWN_KEY = /^([^/]+)\/([^/]+)$/

/** What a user or a team may take is nobody's to hold. */
export const isOfSubject = (resource: string): boolean => /^(?:user|team)\//.test(resource)

/** @throws StoreUnreachable */
export async function findResource(
  name: string,
  { resources, ownResource }: LeasePolicy,
  store: Store,
): Promise<FoundResource> {
  if (resources.has(name)) return { kind: 'found', resource: name, isLearnt: false }
  if (isOfSubject(name)) return unknown(name, 'what a user or a team has is not asked for')
  const [, provider, group] = OF_OWN_KEY.exec(name) ?? []
  const own = provider && group ? ownResource(provider, group) : null
  if (own !== null) return { kind: 'found', resource: own, isLearnt: true }
  if (name.includes('/') && (await store.look(name)) !== null)
    return { kind: 'found', resource: name, isLearnt: true }
  if (provider && group)
    return unknown(
      name,
      `this gate has no key of its own for ${clip(provider)}, or no model has this name`,
    )
  if (name.includes('/')) return unknown(name, 'nothing has drawn on it yet')
  const known = [...resources.keys()]
  if (known.length === 0) return unknown(name, 'name it under resources in the configuration')
  return unknown(name, suggestion(name, known))
}

function unknown(name: string, why: string): FoundResource {
  const message = `There is no resource ${clip(name)}: ${why}${why.endsWith('?') ? '' : '.'}`
  return {
    kind: 'refused',
    refusal: leaseRefusal('unknown_resource', message, { field: 'resource' }),
  }
}

const clip = (text: string): string => text.slice(0, 100)
