// Runs examples/per-user-limits, each with its own configuration, in front of an emulator whose limits
// are out of the way.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { fakeIo } from '../cli/fake-io.ts'
import { type GatewayProcess, startGateway } from '../gateway-process.ts'
import { type Harness, openHarness } from '../harness.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { ROOT } from './markdown.ts'
import { outputOfNode } from './run-example.ts'

const FOLDER = 'examples/per-user-limits'

const configOf = (name: string): string =>
  readFileSync(path.join(ROOT, FOLDER, `${name}.yaml`), 'utf8')

function openGate(config: string, speed = 1): Promise<Harness> {
  const limits = { requests: 10_000, inputTokens: 10_000_000, outputTokens: 10_000_000 }
  return openHarness({
    config,
    speed,
    emulator: { limits, ttftMs: 10, tokensPerSecond: 100_000 },
  })
}

async function linesOf(url: string, name: string, ...args: string[]): Promise<string[]> {
  const output = await outputOfNode(url, `${FOLDER}/${name}.mjs`, ...args)
  return output.trimEnd().split('\n')
}

describe('per-user limits', () => {
  it('1: a token bucket of five lets five of eight pass, and others go on', async () => {
    await using gate = await openGate(configOf('1-token-bucket'))
    const lines = await linesOf(gate.url, '1-token-bucket')
    const alice = lines.slice(0, 8)
    expect(alice.filter((line) => /^alice: answered, [0-4] left$/.test(line))).toHaveLength(5)
    expect(alice.filter((line) => /^alice: refused, room in [1-6] s$/.test(line))).toHaveLength(3)
    expect(lines.slice(8)).toEqual(['carol: answered, 19 left'])
  })

  it('2: a sliding window of ten is shared by two gateways with one Redis', async () => {
    await using behind = await openGate('')
    const { url } = await sharedRedis()
    const store = `${url}?prefix=${freshPrefix()}`
    const flags = [
      ...['--config', `${FOLDER}/2-sliding-window.yaml`, '--store', store],
      ...['--upstream', `anthropic=${behind.emulator.url}`],
    ]
    const gateways: GatewayProcess[] = await Promise.all([
      startGateway(...flags),
      startGateway(...flags),
    ])
    try {
      const urls = gateways.map((gateway) => gateway.url)
      expect(await linesOf('', '2-sliding-window', ...urls)).toEqual(['10 answered', '2 refused'])
    } finally {
      await Promise.all(gateways.map((gateway) => gateway.kill()))
    }
  })

  it('3: tokens are counted, and a request above the cap is refused', async () => {
    await using gate = await openGate(configOf('3-token-quota'))
    const [alice = '', tooLarge = '', ...bob] = await linesOf(gate.url, '3-token-quota')
    expect(alice).toMatch(/^alice asks for 8000: used 14\d\d tokens$/)
    expect(tooLarge).toMatch(/^bob asks for 8000: 413, .*about 80\d\d tokens .* of 2000 for one/)
    expect(bob.slice(0, -1)).toEqual(bob.slice(0, -1).map(() => expect.stringMatching(/used 14/)))
    expect(bob.length).toBeGreaterThan(2)
    expect(bob.at(-1)).toMatch(
      /^bob asks for 1500: 429, .*user bob has reached a limit: 5000 tokens/,
    )
  })

  it('4: a middleware maps keys to tiers, and its answers carry the headers', async () => {
    await using gate = await openGate('')
    expect(await linesOf(gate.url, '4-middleware')).toEqual([
      'key_free_001: 200 claude-haiku-4-5, 9 of 10 left',
      expect.stringMatching(/^key_free_001: 429 rate_limit_exceeded, 0 of 10 left, again in \d s$/),
      'key_pro_001: 200 claude-haiku-4-5, 59 of 60 left',
      'key_prm_001: 200 claude-sonnet-5, 299 of 300 left',
      'key_unknown: 401 key_unknown',
    ])
  })

  it('5: premium passes pro, pro passes free, and nobody waits for more than 30 s', async () => {
    await using gate = await openGate(configOf('5-priority-lanes'), 10)
    const lines = await linesOf(gate.url, '5-priority-lanes')
    const told = lines.map((line) => {
      const [, tier = '', answered, longest, refused] =
        /^(\w+) +(\d+) answered, the last after ([\d.]+) s; (\d+) refused$/.exec(line) ?? []
      return {
        tier,
        answered: Number(answered),
        longest: Number(longest),
        refused: Number(refused),
      }
    })
    const [premium, pro, free] = told
    expect(told.map(({ tier }) => tier)).toEqual(['premium', 'pro', 'free'])
    expect([premium?.answered, pro?.answered]).toEqual([15, 15])
    expect(premium?.longest).toBeLessThan(pro?.longest ?? 0)
    expect(pro?.longest).toBeLessThan(free?.longest ?? 0)
    // What this machine is late by counts tenfold.
    expect(free?.longest).toBeLessThan(33)
    expect(free?.refused).toBeGreaterThan(0)
    expect(free?.answered).toBeGreaterThan(60)
  })

  it('6: a budget warns at 80 %, refuses what it cannot bear, and is shown by the command', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'headgate-example-'))
    const ledger = path.join(folder, 'budgets.db')
    try {
      const config = configOf('6-monthly-budget').replace('./budgets.db', ledger)
      await using gate = await openGate(config)
      const lines = await linesOf(gate.url, '6-monthly-budget')
      const warned = lines.findIndex((line) => line.endsWith('warning: 80 % are spent'))
      expect(warned).toBe(lines.length - 2)
      expect(lines.at(-1)).toMatch(
        /^402: Headgate: the budget of user alice, 0\.03 USD a month, has 0\.00\d+ USD left/,
      )
      expect(gate.of('budget_warned')).toMatchObject([
        { warning: { subject: 'user:alice', step: 80, amount: 30_000_000 } },
      ])
      expect(await shown(ledger)).toMatch(
        /^user:alice +0\.03 USD\/month +\S+ +0\.02\d+ +0 +0\.00\d+ /m,
      )
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

/** What `headgate budgets show` prints of Alice. */
async function shown(ledger: string): Promise<string> {
  const io = fakeIo({ folder: ROOT })
  const from = ['--config', `${FOLDER}/6-monthly-budget.yaml`, '--ledger', `sqlite:${ledger}`]
  await main(['budgets', 'show', 'user:alice', ...from], io)
  return io.out()
}
