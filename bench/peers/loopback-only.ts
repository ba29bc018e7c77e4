// Preloaded into peers that listen on every interface by default: they listen on loopback here, and
// any connection that they try to make elsewhere fails. Must not know: which peer it is in.
import { Server, Socket } from 'node:net'

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1'])

const listen = Server.prototype.listen
Server.prototype.listen = function (this: Server, ...args: unknown[]) {
  const [port, ...rest] = args
  const callback = rest.findLast((argument) => typeof argument === 'function')
  return Reflect.apply(listen, this, [{ port, host: '127.0.0.1' }, callback])
}

const connect = Socket.prototype.connect
Socket.prototype.connect = function (this: Socket, ...args: unknown[]) {
  const [target] = args.flat()
  const host = typeof target === 'object' && target && 'host' in target ? target.host : null
  if (typeof host === 'string' && !LOOPBACK.has(host)) {
    throw new Error(`a peer under test may not connect to ${host}`)
  }
  return Reflect.apply(connect, this, args)
}
