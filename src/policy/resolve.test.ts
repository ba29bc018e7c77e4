import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ConfigError } from './problem.ts'
import { loadSettings } from './resolve.ts'
import type { Flags } from './setting-table.ts'

const MISTAKES = path.join(import.meta.dirname, 'fixtures/mistakes')
const GOOD = path.join(import.meta.dirname, 'fixtures')

function problemsOf(flags: Flags, env: Record<string, string> = {}, folder = MISTAKES) {
  try {
    loadSettings(flags, env, folder)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('mistakes in the file', () => {
  const expected: Record<string, readonly string[]> = {
    'aging-zero.yaml': [
      'aging-zero.yaml:2:10: queue.aging: "0s" is no time at all, write one such as 60s',
    ],
    'api-key-empty.yaml': [
      'api-key-empty.yaml:3:14: providers.anthropic.api_key: the value is not a key, write one without spaces',
    ],
    'api-key-with-line-end.yaml': [
      'api-key-with-line-end.yaml:3:14: providers.anthropic.api_key: the value is not a key, write one without spaces',
    ],
    'base-url-no-scheme.yaml': [
      'base-url-no-scheme.yaml:3:15: providers.anthropic.base_url: "api.anthropic.com" is not an http or https URL, write one such as https://host',
    ],
    'base-url-with-password.yaml': [
      'base-url-with-password.yaml:3:15: providers.anthropic.base_url: the value has more than host and path, leave out user, query and #',
    ],
    'concurrency-not-whole.yaml': [
      'concurrency-not-whole.yaml:5:22: providers.anthropic.limits[0].concurrency: "2.5" is not a whole number, write 1 or more',
    ],
    'floors-swapped.yaml': [
      'floors-swapped.yaml:3:13: providers.anthropic.floors: the value has hard above soft, the gate would stop before it slows: swap them',
    ],
    'keepalive-unknown.yaml': [
      'keepalive-unknown.yaml:1:21: queue.keepalive: "always" is not known here, write auto or off',
    ],
    'key-camel-case.yaml': [
      'key-camel-case.yaml:2:3: queue.maxWait: is not a known key, did you mean max_wait?',
    ],
    'key-of-another-version.yaml': [
      'key-of-another-version.yaml:1:1: default_tier: is not a known key, known here: listen, store, on_store_failure, queue, max_body_memory, providers, log',
    ],
    'key-twice.yaml': ['key-twice.yaml:3:3: max_wait: is written twice, keep one'],
    'limit-bad-window.yaml': [
      'limit-bad-window.yaml:5:19: providers.anthropic.limits[0].requests: "1000/minute" is not a limit, write AMOUNT/WINDOW [burst N] [bucket|sliding|fixed], such as 1000/min burst 50',
    ],
    'limit-burst-on-window.yaml': [
      'limit-burst-on-window.yaml:5:17: providers.anthropic.limits[0].tokens: "1000/min burst 5 sliding" gives a burst to a sliding window, only a bucket has one: leave it out',
    ],
    'limit-in-list-bad.yaml': [
      'limit-in-list-bad.yaml:5:30: providers.anthropic.limits[0].tokens[1]: "2000000/dy" is not a limit, write AMOUNT/WINDOW [burst N] [bucket|sliding|fixed], such as 1000/min burst 50',
    ],
    'limit-not-quoted.yaml': [
      'limit-not-quoted.yaml:5:19: providers.anthropic.limits[0].requests: "1000" is not a limit, write AMOUNT/WINDOW [burst N] [bucket|sliding|fixed], such as 1000/min burst 50',
    ],
    'limit-twice.yaml': [
      'limit-twice.yaml:5:17: providers.anthropic.limits[0].tokens: the value limits the same window twice in the same way, keep one',
    ],
    'limit-without-limits.yaml': [
      'limit-without-limits.yaml:4:9: providers.anthropic.limits[0]: the value limits nothing, add a line such as requests: 1000/min',
    ],
    'limit-without-match.yaml': [
      'limit-without-match.yaml:4:9: providers.anthropic.limits[0].match: is missing, add it',
    ],
    'limits-not-a-list.yaml': [
      'limits-not-a-list.yaml:4:7: providers.anthropic.limits: the value is not a list, begin each entry with "- match:"',
    ],
    'listen-port-only.yaml': [
      'listen-port-only.yaml:1:9: listen: "4000" is not an address, write HOST:PORT such as 127.0.0.1:4000, PORT at most 65535',
    ],
    'listen-port-too-high.yaml': [
      'listen-port-too-high.yaml:1:9: listen: "127.0.0.1:70000" is not an address, write HOST:PORT such as 127.0.0.1:4000, PORT at most 65535',
    ],
    'log-level-unknown.yaml': [
      'log-level-unknown.yaml:2:10: log.level: "verbose" is not known here, write debug, info, warn, error or silent',
    ],
    'match-not-quoted.yaml': [
      'match-not-quoted.yaml:4:16: *sonnet* begins with * and is read as an alias, put it in quotes',
    ],
    'match-with-space.yaml': [
      'match-with-space.yaml:4:16: providers.anthropic.limits[0].match: "claude sonnet" is not a model pattern, write a name with * for any letters',
    ],
    'max-queued-zero.yaml': [
      'max-queued-zero.yaml:2:15: queue.max_queued: "0" is not a whole number, write 1 or more',
    ],
    'max-wait-no-unit.yaml': [
      'max-wait-no-unit.yaml:2:13: queue.max_wait: "600" is not a duration, write one such as 250ms, 60s, 10m or 1h30m',
    ],
    'not-a-group.yaml': [
      'not-a-group.yaml:1:8: queue: "10m" is not a group of keys, write them indented below',
    ],
    'not-a-mapping.yaml': [
      'not-a-mapping.yaml:1:1: the value is not a group of keys, write them indented below',
    ],
    'not-json.txt': [
      'not-json.txt:3:3: this is not YAML or JSON: Missing , between flow map items',
    ],
    'not-yaml.txt': ['not-yaml.txt:3:1: this is not YAML or JSON: Missing closing "quote'],
    'on-store-failure-unknown.yaml': [
      'on-store-failure-unknown.yaml:1:19: on_store_failure: "panic" is not known here, write degrade, open or closed',
    ],
    'provider-unknown.yaml': [
      'provider-unknown.yaml:2:3: providers.anthropics: is not a known key, did you mean anthropic?',
    ],
    'several-mistakes.yaml': [
      'several-mistakes.yaml:1:8: store: "memori" is not a store, write memory or one such as redis://host:6379',
      'several-mistakes.yaml:3:13: queue.max_wait: "soon" is not a duration, write one such as 250ms, 60s, 10m or 1h30m',
      'several-mistakes.yaml:4:10: queue.aging: "never" is not a duration, write one such as 250ms, 60s, 10m or 1h30m',
    ],
    'size-lower-case.yaml': [
      'size-lower-case.yaml:1:18: max_body_memory: "1gib" is not a size, write one such as 64KB, 32MiB or 1GiB',
    ],
    'store-other.yaml': [
      'store-other.yaml:1:8: store: "postgres://db:5432" is not a store, write memory or one such as redis://host:6379',
    ],
    'store-with-password.yaml': [
      'store-with-password.yaml:1:8: store: the value has a database that is no number, write one such as redis://host:6379/0',
    ],
    'store-without-primary.yaml': [
      'store-without-primary.yaml:1:8: store: the value names no primary, write its name after the hosts, such as redis+sentinel://host:26379/mymaster',
    ],
    'two-documents.yaml': ['two-documents.yaml:2:1: a second document begins, keep one'],
    'variable-missing.yaml': [
      'variable-missing.yaml:3:14: providers.anthropic.api_key: the environment variable NO_SUCH_KEY is not set, set it',
      'variable-missing.yaml:5:16: providers.anthropic.limits[0].match: the environment variable NO_SUCH_MODEL is not set, set it',
    ],
    'variable-wrong.yaml': [
      // biome-ignore lint/suspicious/noTemplateCurlyInString: what stands in the file
      'variable-wrong.yaml:2:13: queue.max_wait: "${MY_SECRET}" is not a duration, write one such as 250ms, 60s, 10m or 1h30m',
    ],
  }

  it.each(Object.entries(expected))('%s is told with line, key and remedy', (file, problems) => {
    expect(problemsOf({ config: file }, { MY_SECRET: 'hunter2' })).toEqual(problems)
  })

  it('has an expectation for each fixture', () => {
    expect(readdirSync(MISTAKES).sort()).toEqual(Object.keys(expected).sort())
  })

  it('tells those of flags, environment and file together', () => {
    const flags = { config: 'aging-zero.yaml', port: '70000', upstream: ['anthropic=nowhere'] }
    expect(problemsOf(flags, { HEADGATE_MAX_WAIT: '5 minutes' })).toEqual([
      'aging-zero.yaml:2:10: queue.aging: "0s" is no time at all, write one such as 60s',
      '--port: "70000" is not a whole number, write one from 0 to 65535',
      'HEADGATE_MAX_WAIT: "5 minutes" is not a duration, write one such as 250ms, 60s, 10m or 1h30m',
      '--upstream: "nowhere" is not an http or https URL, write one such as https://host',
    ])
  })
})

describe('mistakes on the command line and in the environment', () => {
  it.each<[Flags, Record<string, string>, string]>([
    [
      { config: 'absent.yaml' },
      {},
      '--config: absent.yaml: there is no such file, name another or leave it out',
    ],
    [
      {},
      { HEADGATE_CONFIG: 'absent.yaml' },
      'HEADGATE_CONFIG: absent.yaml: there is no such file, name another or leave it out',
    ],
    [
      { config: '.' },
      {},
      '--config: .: the file cannot be read (EISDIR), name another or leave it out',
    ],
    [
      { upstream: ['antropic=http://x'] },
      {},
      '--upstream: "antropic" names no provider, did you mean anthropic?',
    ],
    [{ upstream: ['http://x'] }, {}, '--upstream: "http://x" is not NAME=URL'],
    [
      { host: 'a b' },
      {},
      '--host: "a b" is not a host, write a name or an address such as 127.0.0.1',
    ],
    [{ logFormat: 'xml' }, {}, '--log-format: "xml" is not known here, write auto, pretty or json'],
    [
      {},
      { HEADGATE_STORE: 'redis://:hunter2@a,b' },
      'HEADGATE_STORE: the value names several hosts, begin it with redis+cluster:// or redis+sentinel:// for that',
    ],
  ])('%j %j', (flags, env, problem) => {
    expect(problemsOf(flags, env)).toEqual([problem])
  })
})

describe('the order of sources', () => {
  const file = { config: 'whole.yaml' }
  const env = { HEADGATE_PORT: '5001', HEADGATE_MAX_WAIT: '2m', EXAMPLE_KEY: 'sk-ant-example' }

  it('is complete without any', () => {
    expect(loadSettings({}, {}, MISTAKES)).toMatchObject({
      file: null,
      warnings: [],
      settings: {
        host: '127.0.0.1',
        port: 4000,
        store: { kind: 'memory' },
        onStoreFailure: 'degrade',
        queue: { maxWaitMs: 600_000, maxQueued: 10_000, agingMs: 60_000, keepalive: 'auto' },
        maxBodyMemoryBytes: 2 ** 30,
        providers: {
          anthropic: {
            baseUrl: null,
            apiKey: null,
            floors: { softTokens: 0, hardTokens: 0 },
            limits: [],
          },
        },
        log: { level: 'info', format: 'auto' },
      },
    })
  })

  it('takes everything that a file can say', () => {
    const { settings } = loadSettings(file, { EXAMPLE_KEY: 'sk-ant-example' }, GOOD)
    const consumed = { algorithm: 'token_bucket', windowMs: 60_000, source: 'configured' }
    expect(settings).toEqual({
      host: '::1',
      port: 4100,
      store: {
        kind: 'redis',
        tls: true,
        user: null,
        password: 'sk-ant-example',
        host: 'cache',
        port: 6379,
        db: 0,
        prefix: 'team-a',
        shown: 'rediss://cache:6379?prefix=team-a',
      },
      onStoreFailure: 'closed',
      queue: { maxWaitMs: 300_000, maxQueued: 50, agingMs: 30_000, keepalive: 'off' },
      maxBodyMemoryBytes: 64 * 2 ** 20,
      providers: {
        anthropic: {
          baseUrl: 'https://example.test/prefix',
          apiKey: 'sk-ant-example',
          floors: { softTokens: 20_000, hardTokens: 2000 },
          limits: [
            {
              match: 'claude-sonnet-4*',
              limits: [
                { ...consumed, dimension: 'requests', amount: 1000, burst: 50 },
                { ...consumed, dimension: 'input_tokens', amount: 80_000 },
                { ...consumed, dimension: 'output_tokens', amount: 16_000 },
                {
                  ...consumed,
                  dimension: 'tokens',
                  amount: 200_000,
                  algorithm: 'sliding_window',
                },
                {
                  ...consumed,
                  dimension: 'tokens',
                  amount: 2_000_000,
                  algorithm: 'fixed_window',
                  windowMs: 86_400_000,
                  calendar: { unit: 'day', timeZone: 'Europe/Berlin' },
                },
                {
                  algorithm: 'concurrency',
                  dimension: 'concurrency',
                  amount: 10,
                  source: 'configured',
                },
              ],
            },
          ],
        },
      },
      log: { level: 'warn', format: 'json' },
    })
  })

  it('reads JSON as it reads YAML', () => {
    expect(loadSettings({ config: 'whole.json' }, env, GOOD).settings).toEqual(
      loadSettings(file, env, GOOD).settings,
    )
  })

  it('lets flags beat environment, and environment beat the file', () => {
    const flags = { ...file, port: '5002', upstream: ['anthropic=http://127.0.0.1:9/'] }
    const { settings, values } = loadSettings(flags, env, GOOD)
    expect(settings).toMatchObject({
      host: '::1',
      port: 5002,
      queue: { maxWaitMs: 120_000 },
      providers: { anthropic: { baseUrl: 'http://127.0.0.1:9' } },
    })
    const origins = Object.fromEntries(values.map(({ label, origin }) => [label, origin]))
    expect(origins).toMatchObject({
      'listen: host': 'whole.yaml',
      'listen: port': '--port',
      'queue.max_wait': 'HEADGATE_MAX_WAIT',
      'providers.anthropic.base_url': '--upstream',
    })
  })

  it('treats an empty variable as one that is not there', () => {
    const { settings, values } = loadSettings({}, { HEADGATE_PORT: '' }, MISTAKES)
    expect(settings.port).toBe(4000)
    expect(values.find(({ label }) => label === 'listen: port')?.origin).toBe('default')
  })

  it('accepts a file that says nothing', () => {
    expect(loadSettings({ config: 'empty.yaml' }, {}, GOOD).file).toBe('empty.yaml')
  })

  it('reads headgate.yaml where it stands without being named', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'headgate-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    writeFileSync(path.join(folder, 'headgate.yaml'), 'listen: 127.0.0.1:4200')
    expect(loadSettings({}, {}, folder)).toMatchObject({
      file: 'headgate.yaml',
      settings: { port: 4200 },
    })
  })
})

describe('warnings', () => {
  it.each([
    [
      { HEADGATE_MAXWAIT: '1m' },
      'HEADGATE_MAXWAIT: no such variable, did you mean HEADGATE_MAX_WAIT?',
    ],
    [{ HEADGATE_ZEBRA: '1' }, 'HEADGATE_ZEBRA: no such variable, remove it'],
    [
      { HEADGATE_HOST: '0.0.0.0' },
      'listening on 0.0.0.0: whoever can reach this machine can use the gate',
    ],
    [
      { HEADGATE_UPSTREAM_ANTHROPIC: 'http://example.test' },
      'providers.anthropic.base_url: keys go there over plain http, use https',
    ],
    [
      { HEADGATE_STORE: 'redis://cache' },
      'store: whoever can reach it can change it, give it a password and use rediss://',
    ],
    [
      { HEADGATE_STORE: 'redis+cluster://:hunter2@127.0.0.1,cache' },
      'store: its password goes there in clear, use rediss://',
    ],
  ])('%j', (env, warning) => {
    expect(loadSettings({}, env, MISTAKES).warnings).toEqual([warning])
  })

  it('says that an open gate spends the key of the file', () => {
    const flags = { config: 'whole.yaml', host: '::' }
    expect(loadSettings(flags, { EXAMPLE_KEY: 'sk-ant-example' }, GOOD).warnings).toEqual([
      'listening on ::: whoever can reach this machine can spend your API key',
    ])
  })

  it.each(['localhost', '127.0.0.2', '::1'])('has none for %s', (host) => {
    const flags = { host, upstream: ['anthropic=http://localhost:1'] }
    expect(loadSettings({ ...flags, store: 'redis://[::1]' }, {}, MISTAKES).warnings).toEqual([])
  })
})
