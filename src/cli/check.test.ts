import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { type CheckFlags, runCheck } from './check.ts'

const folder = path.join(import.meta.dirname, '../policy/fixtures')

async function check(flags: CheckFlags, env: Record<string, string> = {}) {
  let out = ''
  let err = ''
  const exitCode = await runCheck(flags, {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    env,
    folder,
  })
  return { exitCode, out, err }
}

describe('headgate check', () => {
  it('prints every setting and where it came from', async () => {
    const env = { EXAMPLE_KEY: 'sk-ant-SECRET', HEADGATE_LOG_LEVEL: 'debug' }
    const { exitCode, out, err } = await check({ config: 'whole.yaml', port: '0' }, env)
    expect(err).toBe('')
    expect(exitCode).toBe(0)
    expect(out.split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
      'whole.yaml is fine.',
      '',
      'listen: host | ::1 | whole.yaml',
      'listen: port | 0 | --port',
      'store | rediss://cache:6379?prefix=team-a | whole.yaml',
      'on_store_failure | closed | whole.yaml',
      'ledger | postgres://db/headgate | whole.yaml',
      'queue.max_wait | 5m | whole.yaml',
      'queue.max_queued | 50 | whole.yaml',
      'queue.aging | 30s | whole.yaml',
      'queue.keepalive | off | whole.yaml',
      'max_body_memory | 64MiB | whole.yaml',
      'fallback_after | 5s | whole.yaml',
      'unknown_price | allow | whole.yaml',
      'leases.default_ttl | 10s | whole.yaml',
      'leases.max_ttl | 1d | whole.yaml',
      'leases.max_per_caller | 5 | whole.yaml',
      'log.level | debug | HEADGATE_LOG_LEVEL',
      'log.format | json | whole.yaml',
      'providers.anthropic.base_url | https://example.test/prefix | whole.yaml',
      'providers.anthropic.api_key | set, not shown | whole.yaml',
      'providers.anthropic.floors | soft 20000, hard 2000 | whole.yaml',
      'providers.anthropic.limits | claude-sonnet-4*: requests 1000/min burst 50, input_tokens 80000/min, output_tokens 16000/min, tokens 200000/min sliding, tokens 2000000/day fixed in Europe/Berlin, concurrency 10 | whole.yaml',
      'resources | 7: concurrency 1 | whole.yaml',
      'resources | anthropic-claude: requests 1000/min, tokens 200000/min, tokens 2000000/day fixed, concurrency 10 | whole.yaml',
      'leases.origins | https://app.example | whole.yaml',
      'tiers | free, open | whole.yaml',
      'default_tier | free | whole.yaml',
      'users | 2 | whole.yaml',
      'teams | research | whole.yaml',
      'keys | ci | whole.yaml',
      'identity.require_key | false',
      'identity.trusted | 10.0.0.0/8, ::1',
      'fallbacks | claude-sonnet-4*: claude-haiku-4-5, claude-haiku-3-5, other: claude-haiku-4-5 | whole.yaml',
      'prices | my-model, free-model | whole.yaml',
      'admin.token | set, not shown | whole.yaml',
      '',
    ])
  })

  it('says what goes without a file', async () => {
    const { exitCode, out } = await check({})
    expect(exitCode).toBe(0)
    expect(out).toMatch(/^No configuration file\.\n/)
    expect(out).toMatch(/providers\.anthropic\.limits +learnt from responses +default\n/)
  })

  it('warns and still succeeds', async () => {
    const { exitCode, err } = await check({ host: '0.0.0.0' })
    expect(exitCode).toBe(0)
    expect(err).toBe(
      'warning: listening on 0.0.0.0: whoever can reach this machine can use the gate\n',
    )
  })

  it('prints every problem and exits with 2', async () => {
    const { exitCode, out, err } = await check({ config: 'mistakes/several-mistakes.yaml' })
    expect(exitCode).toBe(2)
    expect(out).toBe('')
    expect(err.trimEnd().split('\n')).toHaveLength(3)
    expect(err).toMatch(/^mistakes\/several-mistakes\.yaml:1:8: store: /)
  })
})

describe('headgate check --user', () => {
  const env = { EXAMPLE_KEY: 'sk-ant-SECRET' }
  const explain = async (flags: CheckFlags) => {
    const { exitCode, out, err } = await check({ config: 'whole.yaml', ...flags }, env)
    expect([exitCode, err]).toEqual([0, ''])
    return out.split('\n').map((line) => line.replace(/ {2,}/, ': '))
  }

  it('says in words what binds a user, and why', async () => {
    expect(await explain({ user: 'zoe' })).toEqual([
      'By whole.yaml:',
      '',
      'user: zoe',
      'tier: free, because it is the default_tier',
      'lane: low, or a lower one that is asked for',
      'weight: 2 within its lane',
      'limit: requests 10/min burst 5, waits when there is no room (user:zoe)',
      'limit: concurrency 1, in shadow: refuses nothing (user:zoe)',
      'budget: 1 USD/month in Europe/Berlin, warns at 50 %, 100 % (user:zoe)',
      'budget: 0.25 USD/hour, warns at 50 %, 100 % (user:zoe)',
      'budget: 0.000000001 USD/day, warns at 50 %, 100 %, in shadow: refuses nothing (user:zoe)',
      'largest request: 2000 tokens',
      'largest request: 1000 tokens, in shadow: refuses nothing',
      'routing: *sonnet* becomes claude-haiku-4-5',
      'routing: * becomes claude-haiku-3-5',
      'models: claude-haiku-*',
      'fallback: claude-sonnet-4* becomes claude-haiku-4-5, then claude-haiku-3-5 after a wait of 5s',
      'fallback: other becomes claude-haiku-4-5 after a wait of 5s',
      '',
    ])
  })

  it('adds what the team of a user shares', async () => {
    expect(await explain({ user: 'alice' })).toEqual(
      expect.arrayContaining([
        'team: research',
        'tier: open, because users.alice names it',
        'limit: tokens 5000/hour, refused at once when there is no room (team:research)',
        'budget: 50 USD/month, warns at 50 %, 100 % (team:research)',
      ]),
    )
  })

  it('knows whom a key stands for', async () => {
    expect(await explain({ key: 'ci' })).toEqual(
      expect.arrayContaining([
        'user: alice',
        'tier: free, because the key ci names it',
        'opens: leases',
      ]),
    )
  })

  it('says when nothing binds anybody', async () => {
    const { out } = await check({ user: 'zoe' })
    expect(out).toMatch(/^No configuration file\.\n/)
    expect(out).toMatch(/tier +none is named, and there is no default_tier\n/)
    expect(out).toMatch(/limit +none of its own\n/)
  })

  it('exits with 2 for a key that the file does not have', async () => {
    const { exitCode, out, err } = await check({ config: 'whole.yaml', key: 'cj' }, env)
    expect([exitCode, out]).toEqual([2, ''])
    expect(err).toBe('--key: cj is not a key of the file, did you mean ci?\n')
  })
})
