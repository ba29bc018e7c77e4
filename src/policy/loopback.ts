// This machine, as hosts name it. Must not know: who listens or calls there.

/** The networks of the loopback addresses. */
export const LOOPBACK_NETWORKS = ['127.0.0.0/8', '::1/128'] as const

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127\.[\d.]+$/.test(host)
}
