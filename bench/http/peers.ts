// The proxies under test, each a process of its own, and the stub upstream that they all share.
// Owns: how each is started. Must not know: what is measured.
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installedVersion } from '../report.ts'
import type { Behaviour } from './stub-upstream.ts'

export type PeerName = 'pass-through' | 'headgate' | 'nginx' | 'portkey'

export interface Peer {
  readonly name: PeerName
  readonly version: string
  /** Where messages are posted. */
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly pid: number
  stop(): Promise<void>
}

export interface AbsentPeer {
  readonly name: PeerName
  readonly absentBecause: string
}

export interface StubUpstream {
  readonly url: URL
  readonly pid: number
  behave(behaviour: Behaviour): Promise<void>
  stop(): Promise<void>
}

const ROOT = join(import.meta.dirname, '..', '..')
const START_MS = 20_000
const CLIENT_HEADERS = {
  'content-type': 'application/json',
  'anthropic-version': '2023-06-01',
  'x-api-key': 'sk-ant-bench',
}

export async function startStubUpstream(): Promise<StubUpstream> {
  const child = fork(join(import.meta.dirname, 'stub-upstream.ts'))
  const [origin] = await once(child, 'message')
  return {
    url: messagesAt(String(origin)),
    pid: child.pid ?? 0,
    behave: (behaviour) =>
      new Promise((resolve, reject) => {
        child.send(behaviour, (error) => (error ? reject(error) : resolve()))
      }),
    stop: () => stop(child),
  }
}

/** What stands for a proxy where there is none. */
export function directTo(upstream: StubUpstream): Pick<Peer, 'url' | 'headers'> {
  return { url: upstream.url, headers: CLIENT_HEADERS }
}

export function startPeer(name: PeerName, upstream: URL): Promise<Peer | AbsentPeer> {
  const start = {
    'pass-through': startPassThrough,
    headgate: startHeadgate,
    nginx: startNginx,
    portkey: startPortkey,
  }
  return start[name](upstream).catch((error: unknown) => ({ name, absentBecause: String(error) }))
}

async function startPassThrough(upstream: URL): Promise<Peer> {
  const child = launch(process.execPath, [
    join(ROOT, 'bench/peers/pass-through.ts'),
    upstream.origin,
  ])
  const version = `undici ${readVersion(join(ROOT, 'node_modules/undici'))}`
  const url = await printedUrl(child, upstream)
  return peer({ name: 'pass-through', version, child, url, headers: {} })
}

async function startHeadgate(upstream: URL): Promise<Peer | AbsentPeer> {
  const program = join(ROOT, 'bin/headgate.js')
  if (!existsSync(program) || !existsSync(join(ROOT, 'dist'))) {
    return { name: 'headgate', absentBecause: 'it is not built: npm run build' }
  }
  const port = await freePort()
  const options = ['--host', '127.0.0.1', '--port', `${port}`, '--log-level', 'warn']
  const target = ['--upstream', `anthropic=${upstream.origin}`]
  const child = launch(process.execPath, [program, 'serve', ...options, ...target])
  const url = `http://127.0.0.1:${port}`
  return peer({ name: 'headgate', version: readVersion(ROOT), child, url, headers: {} })
}

async function startNginx(upstream: URL): Promise<Peer | AbsentPeer> {
  const banner = spawnSync('nginx', ['-v'], { encoding: 'utf8' })
  if (banner.error) return { name: 'nginx', absentBecause: 'it is not installed' }
  const folder = mkdtempSync(join(tmpdir(), 'headgate-bench-nginx-'))
  const port = await freePort()
  writeFileSync(join(folder, 'nginx.conf'), nginxConfiguration(folder, port, upstream))
  const child = launch('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'])
  const version = /nginx\/(\S+)/.exec(banner.stderr)?.[1] ?? 'unknown'
  return peer({ name: 'nginx', version, child, url: `http://127.0.0.1:${port}`, headers: {} })
}

async function startPortkey(upstream: URL): Promise<Peer> {
  const version = installedVersion('@portkey-ai/gateway')
  const preload = join(ROOT, 'bench/peers/loopback-only.ts')
  const program = join(ROOT, 'bench/node_modules/@portkey-ai/gateway/build/start-server.js')
  const port = await freePort()
  const child = launch(process.execPath, [
    '--import',
    preload,
    program,
    '--headless',
    `--port=${port}`,
  ])
  const headers = {
    'x-portkey-provider': 'anthropic',
    'x-portkey-custom-host': `${upstream.origin}/v1`,
  }
  return peer({ name: 'portkey', version, child, url: `http://127.0.0.1:${port}`, headers })
}

interface Launched {
  readonly name: PeerName
  readonly version: string
  readonly child: ChildProcess
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

async function peer(launched: Launched): Promise<Peer> {
  const { child, name, version } = launched
  const url = messagesAt(launched.url)
  await untilListening(url, child)
  child.stdout?.resume()
  child.stderr?.resume()
  const headers = { ...CLIENT_HEADERS, ...launched.headers }
  return { name, version, url, headers, pid: child.pid ?? 0, stop: () => stop(child) }
}

/** All peers run the same way: production settings, and a home folder with nothing in it. */
function launch(command: string, args: readonly string[]): ChildProcess {
  const home = mkdtempSync(join(tmpdir(), 'headgate-bench-'))
  const env = { PATH: process.env.PATH, HOME: home, NODE_ENV: 'production' }
  const child = spawn(command, args, { cwd: home, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return child
}

/** The first loopback address in a peer's output that is not its upstream's. */
function printedUrl(child: ChildProcess, upstream: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ''
    const read = (chunk: Buffer): void => {
      output += chunk.toString()
      const urls = output.match(/http:\/\/127\.0\.0\.1:\d+(?=\D)/g) ?? []
      const own = urls.find((url) => url !== upstream.origin)
      if (own) resolve(own)
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.once('exit', (code) => reject(new Error(`it ended with ${code}: ${output.slice(-500)}`)))
    setTimeout(
      () => reject(new Error(`it named no address: ${output.slice(-500)}`)),
      START_MS,
    ).unref()
  })
}

async function untilListening(url: URL, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + START_MS
  while (performance.now() < deadline && child.exitCode === null) {
    const socket = connect(Number(url.port), url.hostname)
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (connected) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`nothing listens at ${url.origin}; exit code ${child.exitCode}`)
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const force = setTimeout(() => child.kill('SIGKILL'), 1000)
  await once(child, 'exit')
  clearTimeout(force)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address ? address.port : 0
}

function messagesAt(origin: string): URL {
  return new URL('/v1/messages', origin)
}

function readVersion(packageFolder: string): string {
  const { version }: { version: string } = JSON.parse(
    readFileSync(join(packageFolder, 'package.json'), 'utf8'),
  )
  return version
}

/** A streaming reverse proxy in one process: the same duties as the pass-through. */
function nginxConfiguration(folder: string, port: number, upstream: URL): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr crit;
worker_rlimit_nofile 20000;
events { worker_connections 19000; }
http {
  ${temporary.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
  access_log off;
  client_max_body_size 32m; client_body_buffer_size 1m;
  keepalive_requests 10000000;
  upstream stub { server ${upstream.host}; keepalive 128; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://stub; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }
  }
}
`
}
