// Who may come in, as the settings say. Must not know: what is done with those who do.
import { trustRules } from '../policy/identity.ts'
import type { KeyRing } from '../policy/key-ring.ts'
import type { Settings } from '../policy/settings.ts'
import type { DoorRules } from './gateway.ts'

export function doorRules(
  { identity, queue, providers, rules }: Settings,
  keys: KeyRing,
): DoorRules {
  return {
    keys,
    trust: trustRules(identity, rules.tiers),
    userHeader: identity.userHeader,
    maxWaitMs: queue.maxWaitMs,
    ownKeyOf: () => providers.anthropic.apiKey,
  }
}
