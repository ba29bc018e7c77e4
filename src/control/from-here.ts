// Where a request comes from, as far as that says who may ask. Must not know: what it asks.
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

export function isFromHere(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? ''
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}

/** Whether a proxy says that it passes on what somebody else asks. */
export function isPassedOn({ headers }: IncomingMessage): boolean {
  return headers.forwarded !== undefined || headers['x-forwarded-for'] !== undefined
}

/**
 * Whether a request from this machine calls the gate by a name that a stranger may have given it: a web
 * page can have its own name lead here, and then asks as if it were of the gate.
 */
export function isRebound(request: IncomingMessage): boolean {
  if (!isFromHere(request)) return false
  const { host } = request.headers
  const name = host?.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1')
  return name !== undefined && isIP(name) === 0 && !/^(.+\.)?localhost$/i.test(name)
}
