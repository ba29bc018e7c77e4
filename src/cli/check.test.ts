import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Flags } from '../policy/setting-table.ts'
import { runCheck } from './check.ts'

const folder = path.join(import.meta.dirname, '../policy/fixtures')

async function check(flags: Flags, env: Record<string, string> = {}) {
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
      'queue.max_wait | 5m | whole.yaml',
      'queue.max_queued | 50 | whole.yaml',
      'queue.aging | 30s | whole.yaml',
      'queue.keepalive | off | whole.yaml',
      'max_body_memory | 64MiB | whole.yaml',
      'log.level | debug | HEADGATE_LOG_LEVEL',
      'log.format | json | whole.yaml',
      'providers.anthropic.base_url | https://example.test/prefix | whole.yaml',
      'providers.anthropic.api_key | set, not shown | whole.yaml',
      'providers.anthropic.floors | soft 20000, hard 2000 | whole.yaml',
      'providers.anthropic.limits | claude-sonnet-4*: requests 1000/min burst 50, input_tokens 80000/min, output_tokens 16000/min, tokens 200000/min sliding, tokens 2000000/day fixed in Europe/Berlin, concurrency 10 | whole.yaml',
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
