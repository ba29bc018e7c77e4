import { createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { realClock } from '../../src/core/clock.ts'
import { startEmulator } from '../../src/emulator/emulator.ts'
import { fakeIo } from './fake-io.ts'

const ENTER_SCREEN = '\u001b[?1049h'
const LEAVE_SCREEN = '\u001b[?1049l'

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

async function run(...argv: string[]) {
  const io = fakeIo()
  const exitCode = await main(argv, io)
  return { exitCode, out: io.out(), err: io.err() }
}

/** A port that something else listens on. */
async function takenPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUps.push(() => new Promise((resolve) => server.close(() => resolve())))
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

/** A gateway in this process, in front of an emulator. */
async function serve(...flags: string[]) {
  const emulator = await startEmulator({ clock: realClock(), random: () => 0.5 })
  cleanUps.push(() => emulator.close())
  const io = fakeIo()
  const ended = main(['--port', '0', '--upstream', `anthropic=${emulator.url}`, ...flags], io)
  const line = (await io.until('gate.listening')).split('\n')[0] ?? ''
  const { url } = JSON.parse(line)
  return { io, ended, url: String(url) }
}

describe('the command line', () => {
  it('prints its version and its help', async () => {
    expect(await run('--version')).toMatchObject({
      exitCode: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    })
    const help = await run('--help')
    expect(help).toMatchObject({ exitCode: 0, err: '' })
    for (const name of ['serve', 'check', 'status', 'demo', 'emulate']) {
      expect(help.out).toContain(`  ${name} `)
    }
  })

  it('names every setting with its variable in the help of serve', async () => {
    const { out } = await run('help', 'serve')
    for (const text of ['--max-wait <DURATION>', 'HEADGATE_MAX_WAIT', '--upstream <NAME=URL>']) {
      expect(out).toContain(text)
    }
  })

  it.each([
    [['serv'], 'Did you mean serve?'],
    [['--prot', '1'], 'Did you mean --port?'],
    [['serve', 'extra'], 'too many arguments'],
    [['--port', 'x'], '--port: "x" is not a whole number'],
    [['--port', '0', '--max-wait', 'soon'], '--max-wait: "soon" is not a duration'],
    [['--config', 'nowhere.yaml'], 'there is no such file'],
    [['emulate', '--rpm', '0'], 'It is not a whole number, write 1 or more.'],
    [['emulate', '--overload-rate', '2'], 'It is not a number from 0 to 1.'],
    [['demo', '--agents', '51'], 'one from 1 to 50'],
    [['status', '--url', 'here'], 'is not an http or https URL'],
  ])('ends %j with exit code 2 and one line that says what is wrong', async (argv, line) => {
    const { exitCode, out, err } = await run(...argv)
    expect(exitCode).toBe(2)
    expect(out).toBe('')
    expect(err).toContain(line)
  })

  it('says that a port is taken, and what to do', async () => {
    const port = String(await takenPort())
    for (const command of ['serve', 'emulate']) {
      const { exitCode, err } = await run(command, '--port', port)
      expect(exitCode).toBe(1)
      expect(err).toMatch(/^headgate: port \d+ on 127.0.0.1 is in use: .*--port.*\n$/)
    }
  })

  it('says that no gate answers', async () => {
    const { exitCode, err } = await run('status', '--url', 'http://127.0.0.1:1')
    expect(exitCode).toBe(1)
    expect(err).toMatch(/^headgate: no gate answers at http:\/\/127.0.0.1:1: .*\n$/)
  })
})

describe('serve', () => {
  it('prints the lines to paste on a terminal', async () => {
    const io = fakeIo({ columns: 80, env: { NO_COLOR: '1' } })
    const ended = main(['--port', '0'], io)
    const out = await io.until('\n\n  export')
    expect(out).toMatch(/^Headgate \d.* listens on (http:\/\/127.0.0.1:\d+)\n/)
    await io.until('headgate status --watch --url http://127.0.0.1:')
    io.process.emit('SIGTERM', 'SIGTERM')
    expect(await ended).toBe(0)
    expect(io.out()).toContain('● stopped')
  })

  it('ends with exit code 1 at an error that nobody caught, and says where it was', async () => {
    const { io, ended } = await serve()
    io.process.emit('uncaughtException', new TypeError('SECRET'))
    expect(await ended).toBe(1)
    expect(io.out()).toContain('"error":"TypeError"')
    expect(io.out()).not.toContain('SECRET')
    expect(io.process.eventNames()).toEqual([])
  })
})

describe('status', () => {
  it('shows a running gate, for people and as JSON', async () => {
    const { io, ended, url } = await serve()
    const text = await run('status', '--url', url)
    expect(text).toMatchObject({ exitCode: 0, err: '' })
    expect(text.out).toBe(
      `Headgate ${url}   0 in flight   0 waiting   memory store\n\nNo call has come through yet.\n`,
    )
    const json = await run('status', '--url', `${url}/`, '--json')
    expect(JSON.parse(json.out)).toEqual({
      inFlight: 0,
      queued: 0,
      store: { kind: 'memory', degraded: false },
      resources: [],
    })
    io.process.emit('SIGTERM', 'SIGTERM')
    expect(await ended).toBe(0)
  })

  it('draws in place on a terminal, and gives the terminal back when it is stopped', async () => {
    const gate = await serve()
    const io = fakeIo({ columns: 80 })
    const ended = main(['status', '--watch', '--url', gate.url], io)
    await io.until('0 in flight')
    io.process.emit('SIGINT', 'SIGINT')
    expect(await ended).toBe(0)
    expect(io.out().startsWith(ENTER_SCREEN)).toBe(true)
    expect(io.out().endsWith(LEAVE_SCREEN)).toBe(true)
    gate.io.process.emit('SIGTERM', 'SIGTERM')
    await gate.ended
  })

  it('stops watching when nobody reads any more', async () => {
    const gate = await serve()
    const io = fakeIo()
    const ended = main(['status', '--watch', '--json', '--url', gate.url], io)
    await io.until('}\n')
    io.closeOutput()
    expect(await ended).toBe(0)
    gate.io.process.emit('SIGTERM', 'SIGTERM')
    await gate.ended
  })
})

describe('emulate', () => {
  it('prints where it listens, and what was asked when it is stopped', async () => {
    const io = fakeIo()
    const ended = main(['emulate', '--port', '0', '--rpm', '7', '--seed', '3'], io)
    const out = await io.until('meet its limits')
    expect(out).toContain('7 requests, 30,000 input and 8,000 output tokens')
    expect(out).toContain('Seed 3.')
    const [, url] = /anthropic=(\S+)/.exec(out) ?? []
    const response = await fetch(`${url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': 'any', 'anthropic-version': '2023-06-01' },
      body: JSON.stringify({
        model: 'claude-sonnet-4-5',
        max_tokens: 5,
        messages: [{ role: 'user', content: 'hello' }],
      }),
    })
    expect(response.status).toBe(200)
    await response.text()
    io.process.emit('SIGINT', 'SIGINT')
    expect(await ended).toBe(0)
    expect(io.out()).toMatch(
      /In all: 1 request: 1 admitted, 0 refused \(429\), \d+ tokens in, 5 out/,
    )
  })
})

describe('demo', () => {
  it('finishes all agents with the gate, and compares both runs', async () => {
    const { exitCode, out, err } = await run('demo', '--speed', '60')
    expect(err).toBe('')
    expect(exitCode).toBe(0)
    expect(out).toMatch(/2 of 2 {2}With Headgate\n.* agent-\d+ +done\n/s)
    expect(out).toMatch(/agents that finished +\d+ of 11 +11 of 11\n/)
    expect(out).toMatch(/steps done +\d+ of 66 +66 of 66\n/)
    expect(out).toMatch(/errors that agents met +\d+ +0\n/)
  })

  it('stops when it is told to, and gives the terminal back', async () => {
    const io = fakeIo({ columns: 80 })
    const ended = main(['demo', '--speed', '1'], io)
    await io.until('Without Headgate')
    io.process.emit('SIGINT', 'SIGINT')
    expect(await ended).toBe(0)
    expect(io.out().endsWith(`${LEAVE_SCREEN}Stopped.\n`)).toBe(true)
  })
})
