// An upstream that failed, in words. Owns: the refusal that each kind of failure becomes.
import type { Refusal } from '../core/refusal.ts'
import type { UpstreamFailure } from './upstream.ts'

const RETRY_AFTER_MS = 1000

const KINDS = {
  unreachable: {
    reason: 'upstream_unreachable',
    sentence: (name: string) => `Headgate could not reach ${name}`,
  },
  timeout: {
    reason: 'upstream_timeout',
    sentence: (name: string) => `${name} did not answer in time`,
  },
  broken: {
    reason: 'upstream_broken',
    sentence: (name: string) => `The answer of ${name} broke off`,
  },
} as const

export function upstreamRefusal(providerName: string, { kind, detail }: UpstreamFailure): Refusal {
  const { reason, sentence } = KINDS[kind]
  const message = `${sentence(providerName)} (${detail}).`
  return { reason, message, retryAfterMs: RETRY_AFTER_MS }
}
