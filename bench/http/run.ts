// Measures Headgate beside other proxies on this machine, in one run, and writes the figures down.
// Usage: node bench/http/run.ts [--quick]     (build first: npm run build)
import { availableParallelism } from 'node:os'
import { describeSetting, installPeers, say, writeResults, writeSection } from '../report.ts'
import { messagesRequest } from './closed-loop.ts'
import { exchange, openPool } from './exchange.ts'
import { callersThatFit, type HeldFigures, holdCallers } from './held-callers.ts'
import {
  type AbsentPeer,
  directTo,
  type Peer,
  type PeerName,
  type StubUpstream,
  startPeer,
  startStubUpstream,
} from './peers.ts'
import {
  type Effort,
  measureClosedLoop,
  measureDelay,
  measureLongStreams,
  type Subject,
} from './phases.ts'
import { pinTo } from './process-figures.ts'
import { type HttpResults, renderHttp } from './table.ts'

const PEERS: readonly PeerName[] = ['pass-through', 'headgate', 'nginx', 'portkey']
const MB = 2 ** 20
const FULL: Effort = {
  rounds: 5,
  warmUpMs: 1500,
  closedLoopMs: 1200,
  openLoopMs: 1500,
  floodBytes: [10 * MB, 50 * MB],
  callers: 10_000,
}
const QUICK: Effort = {
  rounds: 2,
  warmUpMs: 400,
  closedLoopMs: 400,
  openLoopMs: 500,
  floodBytes: [5 * MB, 20 * MB],
  callers: 2000,
}
/** The proxy has a core to itself; the load has the other, and in a closed loop so has the upstream. */
const LOAD_CORE = 0
const PROXY_CORE = 1

const isQuick = process.argv.includes('--quick')
const effort = isQuick ? QUICK : FULL
installPeers()
const results = await measureAll()
writeResults('http', results)
writeSection('http', renderHttp(results))
say(`\n${renderHttp(results)}`)
process.exit()

async function measureAll(): Promise<HttpResults> {
  const setting = describeSetting(`node bench/http/run.ts${isQuick ? ' --quick' : ''}`)
  const upstream = await startStubUpstream()
  const isPinned = availableParallelism() > 1 && pinTo(LOAD_CORE, process.pid)
  const started: (Peer | AbsentPeer)[] = []
  for (const name of PEERS) {
    const peer = await startPeer(name, upstream.url)
    started.push(await probe(peer, upstream))
    say(`${name}: ${'pid' in peer ? peer.version : peer.absentBecause}`)
  }
  const peers = started.filter((peer) => 'pid' in peer)
  if (isPinned) for (const peer of peers) pinTo(PROXY_CORE, peer.pid)
  const subjects = [{ name: 'direct', pid: null, ...directTo(upstream) }, ...peers]
  const figures = await measureRunning(subjects, upstream, isPinned)
  for (const peer of peers) await peer.stop()
  await upstream.stop()
  return {
    ...setting,
    isPinned,
    peers: started.map(({ name, ...peer }) =>
      'pid' in peer ? { name, version: peer.version } : { name, absentBecause: peer.absentBecause },
    ),
    ...figures,
    held: await measureHeld(peers, isPinned),
  }
}

/** A peer that does not answer a plain request is absent, with what it said. */
async function probe(peer: Peer | AbsentPeer, upstream: StubUpstream): Promise<Peer | AbsentPeer> {
  if (!('pid' in peer)) return peer
  await upstream.behave({ kind: 'message' })
  const pool = openPool(peer)
  try {
    await exchange(pool, peer, requestBody(2000, false)).finished
    return peer
  } catch (error) {
    await peer.stop()
    return { name: peer.name, absentBecause: `it does not answer: ${String(error)}` }
  } finally {
    await pool.destroy()
  }
}

async function measureRunning(
  subjects: readonly Subject[],
  upstream: StubUpstream,
  isPinned: boolean,
): Promise<Pick<HttpResults, 'closedLoop' | 'latency' | 'firstEvent' | 'longStreams'>> {
  if (isPinned) pinTo(LOAD_CORE, upstream.pid)
  say('closed loop, 2 KB')
  const small = await measureClosedLoop(subjects, requestBody(2000, false), effort)
  say('closed loop, 200 KB')
  const large = await measureClosedLoop(subjects, requestBody(200_000, false), effort)
  if (isPinned) pinTo(PROXY_CORE, upstream.pid)
  say('open loop, 200 requests/s')
  const latency = await measureDelay(subjects, requestBody(2000, false), 200, effort)
  say('streams, 50/s')
  await upstream.behave({ kind: 'stream', events: 20, paceMs: 5 })
  const firstEvent = await measureDelay(subjects, requestBody(2000, true), 50, effort)
  if (isPinned) pinTo(LOAD_CORE, upstream.pid)
  say('long streams')
  const body = requestBody(2000, true)
  const longStreams = await measureLongStreams(subjects, upstream, body, effort.floodBytes)
  return { closedLoop: [...small, ...large], latency, firstEvent, longStreams }
}

/** Fresh processes. Headgate queues, since its upstream refuses; the pass-through's never answers. */
async function measureHeld(
  running: readonly Peer[],
  isPinned: boolean,
): Promise<(HeldFigures & { readonly subject: string })[]> {
  const held: (HeldFigures & { readonly subject: string })[] = []
  for (const { name } of running) {
    if (name !== 'headgate' && name !== 'pass-through') continue
    say(`held callers: ${name}`)
    const upstream = await startStubUpstream()
    await upstream.behave({ kind: name === 'headgate' ? 'refusal' : 'silence' })
    const peer = await startPeer(name, upstream.url)
    if (!('pid' in peer))
      throw new Error(`${name} started once, but not twice: ${peer.absentBecause}`)
    if (isPinned) pinTo(PROXY_CORE, peer.pid)
    const callers = callersThatFit(effort.callers, name === 'headgate' ? 1 : 2)
    const request = messagesRequest(peer.url, requestBody(2000, false), peer.headers)
    held.push({ subject: name, ...(await holdCallers(peer, request, callers)) })
    await peer.stop()
    await upstream.stop()
  }
  return held
}

/** A request of exactly `bytes`, in turns of at most 4,000 characters. */
function requestBody(bytes: number, stream: boolean): Buffer {
  const words = 'Water is shared by turns, and every field has its hour. '.repeat(80)
  const turns = Math.max(1, Math.ceil(bytes / 4000))
  const messages = Array.from({ length: turns }, (_, turn) => ({
    role: turn % 2 === 0 ? 'user' : 'assistant',
    content: '',
  }))
  const request = { model: 'claude-sonnet-4-5', max_tokens: 1024, stream, messages }
  let missing = bytes - JSON.stringify(request).length
  for (const [at, message] of messages.entries()) {
    const length = Math.ceil(missing / (turns - at))
    message.content = words.slice(0, length)
    missing -= length
  }
  return Buffer.from(JSON.stringify(request))
}
