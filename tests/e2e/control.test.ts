// Headgate's own paths, and what must never leave it: prompts and secrets.
import { get } from 'node:http'
import { describe, expect, it } from 'vitest'
import { createControl } from '../../src/control/control.ts'
import { EventMetrics } from '../../src/telemetry/event-metrics.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { ask, failureOf, openHarness, until } from '../harness.ts'
import { atOnce, perMinute } from '../limits.ts'
import { rawCaller } from '../raw-caller.ts'
import { deadUrl, stubUpstream } from '../stub-upstream.ts'

describe('the status document', () => {
  it('shows who is under way, who waits, and which limit binds', async () => {
    await using gate = await openHarness({ emulator: { timeScale: 100 }, anthropic: perMinute(1) })
    await gate.client().messages.create(ask('x', { output: 3 }))
    await gate.idle()
    const waits = new AbortController()
    const waiting = failureOf(gate.client().messages.create(ask('x'), { signal: waits.signal }))
    await until(async () => (await gate.status()).queued === 1)
    const { resources, ...totals } = await gate.status()
    expect(totals).toEqual({
      inFlight: 0,
      queued: 1,
      store: { kind: 'memory', degraded: false },
    })
    const [resource] = resources
    expect(resource).toMatchObject({
      name: expect.stringMatching(/^anthropic\/[0-9a-f]{12}\/claude-sonnet-5$/),
      queued: 1,
      boundBy: '1 requests per 60 s',
      pausedUntil: null,
    })
    expect((resource?.nextAt ?? 0) - gate.clock.now()).toBeGreaterThan(50_000)
    expect(resource?.limits).toContainEqual(
      expect.objectContaining({
        dimension: 'requests',
        amount: 1,
        windowMs: 60_000,
        remaining: 0,
        source: 'configured',
      }),
    )
    const learnt = resource?.limits.filter(({ source }) => source === 'learnt') ?? []
    expect(learnt.map(({ dimension }) => dimension).sort()).toEqual([
      'input_tokens',
      'output_tokens',
      'requests',
    ])
    waits.abort()
    await waiting
    await gate.idle()
  })

  it('is read only, and nothing else is there', async () => {
    await using gate = await openHarness()
    const statusOf = async (path: string, method = 'GET') =>
      (await fetch(gate.url + path, { method })).status
    expect(await statusOf('/headgate/v1/status', 'POST')).toBe(405)
    expect(await statusOf('/headgate/v1/status', 'HEAD')).toBe(200)
    expect(await statusOf('/headgate/v1/status?pretty')).toBe(200)
    expect(await statusOf('/headgate/v1/nothing')).toBe(404)
    expect(await statusOf('/headgate')).toBe(404)
    expect(gate.emulator.report().totals.requests).toBe(0)
  })

  it('is shown to this machine only', async () => {
    await using gate = await openHarness()
    const answersFrom = (remoteAddress: string, url: string): number => {
      let status = 0
      const control = createControl({
        clock: gate.clock,
        store: gate.wired.store,
        counts: new EventMetrics(gate.clock),
        isReady: () => true,
        failed: () => {},
      })
      const response = {
        writeHead: (code: number) => {
          status = code
        },
        end: () => {},
      }
      const request = { url, method: 'POST', headers: {}, socket: { remoteAddress } }
      Reflect.apply(control, null, [request, response])
      return status
    }
    const own = ['/headgate/v1/status', '/metrics']
    for (const near of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'])
      expect([near, ...own.map((url) => answersFrom(near, url))]).toEqual([near, 405, 405])
    for (const far of ['10.0.0.7', '::ffff:10.0.0.7', '1127.0.0.1', 'fe80::1', '']) {
      expect([far, ...own.map((url) => answersFrom(far, url))]).toEqual([far, 403, 403])
      expect([far, answersFrom(far, '/headgate/v1/nothing')]).toEqual([far, 403])
      expect([far, answersFrom(far, '/healthz'), answersFrom(far, '/readyz')]).toEqual([
        far,
        405,
        405,
      ])
    }
  })

  it('is not shown by a name that a web page may have given this machine', async () => {
    await using gate = await openHarness()
    const { port } = new URL(gate.url)
    const statusFor = (host: string): Promise<number> =>
      new Promise((resolve, reject) => {
        const headers = { host }
        get({ port, host: '127.0.0.1', path: '/headgate/v1/status', headers }, (answer) => {
          answer.resume()
          resolve(answer.statusCode ?? 0)
        }).once('error', reject)
      })
    expect(await statusFor(`localhost:${port}`)).toBe(200)
    expect(await statusFor('evil.example')).toBe(403)
  })

  it('does not take over paths that are the provider’s', async () => {
    await using stub = await stubUpstream((response) => response.end('{}'))
    await using gate = await openHarness({ upstream: stub.url })
    const caller = await rawCaller(gate.url)
    caller.write(
      'GET /anthropic/headgate/v1/status HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n',
    )
    await caller.closed()
    expect(stub.received[0]?.url).toBe('/headgate/v1/status')
  })
})

describe('secrets and prompts', () => {
  const SECRET = 'sk-ant-api03-very-secret'
  const PROMPT = 'the moon is made of basalt'

  it('appear in nothing that is told or logged, whatever becomes of a call', async () => {
    const lines: string[] = []
    const log = createLog({
      level: 'debug',
      format: 'json',
      destination: { write: (line) => lines.push(line) },
    })
    const told: string[] = []
    const gates = await Promise.all([
      openHarness({ speed: 100, emulator: {} }),
      openHarness({ speed: 100, upstream: await deadUrl() }),
      openHarness({ speed: 100, anthropic: { ...atOnce(1), apiKey: SECRET } }),
    ])
    for (const gate of gates) {
      await using _gate = gate
      const faults = ['overload', 'spend-limit', 'garbage', 'reset-mid-stream', 'stream-error']
      const client = gate.client({ apiKey: SECRET, timeout: 2000 })
      const bearer = gate.client({ apiKey: null, authToken: SECRET, timeout: 2000 })
      const calls = faults.flatMap((fault) => [
        client.messages.create(ask(PROMPT, { fault, output: 5 })),
        bearer.messages.stream(ask(PROMPT, { fault, output: 5 })).finalMessage(),
      ])
      calls.push(client.messages.create({ ...ask(PROMPT, { output: 5 }), model: 'no-such-model' }))
      await Promise.allSettled(calls)
      await fetch(`${gate.url}/v1/messages`, {
        method: 'POST',
        headers: { 'x-api-key': SECRET },
        body: `{"messages": ${PROMPT}`,
      })
      told.push(JSON.stringify(gate.happenings), JSON.stringify(await gate.status()))
      for (const happening of gate.happenings) {
        if (happening.kind === 'failed') log.error('failed', happening.error)
        if (happening.kind === 'refused') {
          const { facts, refusal } = happening
          log.event({ kind: 'request.refused', ...facts, ...refusal })
        }
        if (happening.kind === 'bounced') {
          const { facts, reason, status } = happening
          log.event({ kind: 'request.bounced', ...facts, reason, status })
        }
      }
    }
    const everything = [...told, ...lines].join('\n')
    expect(lines.length).toBeGreaterThan(5)
    expect(everything).toContain('claude-sonnet-5')
    expect(everything).not.toContain('secret')
    expect(everything).not.toContain('basalt')
  })
})
