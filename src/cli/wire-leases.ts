// Puts the coordinator together: the desk where leases are asked for, and who may come to it. Must not
// know: what either does.
import { randomBytes } from 'node:crypto'
import type { LeaseDoorRules } from '../control/leases/lease-access.ts'
import { LeaseDesk } from '../dispatch/lease-desk.ts'
import type { LeasePolicy } from '../dispatch/lease-policy.ts'
import type { Engine } from '../engine/engine.ts'
import { trustRules } from '../policy/identity.ts'
import { limitGroupOf } from '../providers/anthropic/limit-group.ts'
import { PROVIDERS } from '../providers/providers.ts'

export interface LeaseWiring {
  readonly random: () => number
  readonly warned: (sentence: string) => void
}

export function createLeaseDesk(engine: Engine, { random, warned }: LeaseWiring): LeaseDesk {
  let policy = leasePolicy(engine)
  engine.policy.onChange(() => {
    policy = leasePolicy(engine)
  })
  return new LeaseDesk({
    context: engine.leases,
    policy: () => policy,
    random,
    randomBytes,
    warned,
  })
}

export function leaseDoorRules({ policy }: Engine): LeaseDoorRules {
  const { adminToken, identity, leases, rules } = policy.settings
  return {
    keys: policy.keys,
    trust: trustRules(identity, rules.tiers),
    userHeader: identity.userHeader,
    adminToken,
    origins: leases.origins,
  }
}

function leasePolicy({ dispatcher, policy }: Engine): LeasePolicy {
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
