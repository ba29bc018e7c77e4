// Whether a request comes from this machine. Must not know: what it asks.
import type { IncomingMessage } from 'node:http'

export function isFromHere(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? ''
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}
