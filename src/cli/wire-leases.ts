// Puts the coordinator together: the desk where leases are asked for, and who may come to it. Must not
// know: what either does.
import { randomBytes } from 'node:crypto'
import type { LeaseDoorRules } from '../control/leases/lease-access.ts'
import { LeaseDesk } from '../dispatch/lease-desk.ts'
import type { Engine } from '../engine/engine.ts'
import { trustRules } from '../policy/identity.ts'

export interface LeaseWiring {
  readonly random: () => number
  readonly warned: (sentence: string) => void
}

export function createLeaseDesk(engine: Engine, { random, warned }: LeaseWiring): LeaseDesk {
  return new LeaseDesk({
    context: engine.leases,
    policy: () => engine.leasePolicy(),
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
