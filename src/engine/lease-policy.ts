// The policy of leases that is in force. Owns: what the gate's own key draws on. Must not know: who asks.
import type { Dispatcher } from '../dispatch/dispatcher.ts'
import type { LeasePolicy } from '../dispatch/lease-policy.ts'
import { limitGroupOf } from '../providers/anthropic/limit-group.ts'
import { PROVIDERS } from '../providers/providers.ts'
import type { PolicyInForce } from './policy-in-force.ts'

export function leasePolicy(policy: PolicyInForce, dispatcher: Dispatcher): LeasePolicy {
  const { settings, callRules } = policy
  return {
    leases: settings.leases,
    maxWaitMs: settings.queue.maxWaitMs,
    resources: settings.resources,
    subjects: callRules.subjects,
    limitsOf: (resource) => policy.gateSettings(resource).limits,
    ownResource(name, group) {
      const { apiKey } = settings.providers.anthropic
      const provider = PROVIDERS.find((one) => one.name === name)
      const limitGroup = groupOf(group)
      if (!provider || apiKey === null || limitGroup === null) return null
      return dispatcher.resourceOf(provider, { 'x-api-key': apiKey }, limitGroup).name
    },
  }
}

/** A model may be named as well as its group. Null: no model has this name. */
function groupOf(name: string): string | null {
  const model = name.replace(/-fast$/, '')
  const group = limitGroupOf(model, model !== name)
  return group.startsWith('unknown') ? null : group
}
