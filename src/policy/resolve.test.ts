import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ConfigError } from './problem.ts'
import { loadSettings } from './resolve.ts'
import type { Flags } from './setting-table.ts'
import type { TeamRule, Tier } from './subject.ts'

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
    'key-scope-unknown.yaml': [
      'key-scope-unknown.yaml:4:24: keys[0].scopes[1]: "lease" is not known here, write requests, leases or leases:all',
    ],
    'key-scopes-empty.yaml': [
      'key-scopes-empty.yaml:4:13: keys[0].scopes: the value opens nothing at all, name some or leave it out',
    ],
    'key-twice.yaml': ['key-twice.yaml:3:3: max_wait: is written twice, keep one'],
    'lease-origins.yaml': [
      'lease-origins.yaml:3:6: leases.origins[0]: "*" is not an origin, write one without a path, such as https://host',
      'lease-origins.yaml:3:11: leases.origins[1]: "https://*.example" is not an origin, write one without a path, such as https://host',
      'lease-origins.yaml:3:32: leases.origins[2]: "https://app.example/page" is not an origin, write one without a path, such as https://host',
      'lease-origins.yaml:3:58: leases.origins[3]: "app.example" is not an origin, write one without a path, such as https://host',
    ],
    'lease-ttl-above-max.yaml': [
      'lease-ttl-above-max.yaml:1:9: leases: the value has default_ttl above max_ttl (30s and 1h where not written), write a shorter default_ttl',
    ],
    'lease-ttl-long.yaml': [
      'lease-ttl-long.yaml:1:20: leases.max_ttl: "2d" is not a time from 1s to 24h, write one such as 30s',
    ],
    'lease-ttl-short.yaml': [
      'lease-ttl-short.yaml:1:24: leases.default_ttl: "500ms" is not a time from 1s to 24h, write one such as 30s',
    ],
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
    'resource-budget.yaml': [
      'resource-budget.yaml:2:31: resources.claude.budget: is not a known key, known here: requests, input_tokens, output_tokens, tokens, concurrency',
    ],
    'resource-name-slash.yaml': [
      'resource-name-slash.yaml:2:3: resources: "anthropic/claude" is not the name of a resource, write 1 to 100 letters, digits, dots, colons, - or _',
    ],
    'resource-one-limit.yaml': [
      'resource-one-limit.yaml:2:11: resources.claude: "10/min" is not a group of keys, write them indented below',
    ],
    'resource-without-limits.yaml': [
      'resource-without-limits.yaml:2:11: resources.claude: the value limits nothing, add a line such as requests: 1000/min',
    ],
    'resources-a-list.yaml': [
      'resources-a-list.yaml:1:12: resources: the value is not a group of names, write each with a colon on a line below',
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
    'admin-token-short.yaml': [
      'admin-token-short.yaml:1:17: admin.token: the value is too short to be safe, write 16 characters or more',
    ],
    'allowed-models-empty.yaml': [
      'allowed-models-empty.yaml:2:27: tiers.free.allowed_models: the value allows no model at all, name some or leave it out',
    ],
    'budget-fine-grained.yaml': [
      'budget-fine-grained.yaml:2:19: tiers.free.budget: "0.0000000001 USD/day" has more than nine decimals, leave some out',
    ],
    'budget-no-period.yaml': [
      'budget-no-period.yaml:2:19: tiers.free.budget: "20 USD" is not a budget, write AMOUNT USD/PERIOD [in ZONE], such as 20 USD/month, PERIOD hour, day or month',
    ],
    'budget-too-large.yaml': [
      'budget-too-large.yaml:2:19: tiers.free.budget: "9000000.000000001 USD/day" is nothing or too large, write an amount up to 9000000 USD',
    ],
    'budget-twice.yaml': [
      'budget-twice.yaml:2:19: tiers.free.budget: the value has the same period twice, keep one',
    ],
    'budget-week.yaml': [
      'budget-week.yaml:2:19: tiers.free.budget: "20 USD/week" is not a budget, write AMOUNT USD/PERIOD [in ZONE], such as 20 USD/month, PERIOD hour, day or month',
    ],
    'budget-without-ledger.yaml': [
      'budget-without-ledger.yaml:3:29: tiers.free.shadow.budget: is counted in the ledger, which is off: name a ledger',
    ],
    'budget-zero.yaml': [
      'budget-zero.yaml:2:19: tiers.free.budget: "0.0 USD/day" is nothing or too large, write an amount up to 9000000 USD',
    ],
    'budget-zone.yaml': [
      'budget-zone.yaml:2:19: tiers.free.budget: "1 USD/day in Europe/Berln" names a time zone that is not known, write one such as Europe/Berlin',
    ],
    'fallback-empty.yaml': [
      'fallback-empty.yaml:2:13: fallbacks.claude-*: the value is an empty list, write at least one or leave it out',
    ],
    'key-of-another-version.yaml': [
      'key-of-another-version.yaml:1:1: clusters: is not a known key, known here: listen, store, on_store_failure, ledger, queue, max_body_memory, providers, resources, leases, tiers, default_tier, users, teams, keys, identity, fallbacks, fallback_after, prices, unknown_price, budget_warnings, admin, log',
    ],
    'key-sha-short.yaml': [
      'key-sha-short.yaml:2:23: keys[0].sha256: the value is not a SHA-256, write its 64 hex digits in quotes',
    ],
    'key-sha-twice.yaml': [
      'key-sha-twice.yaml:3:22: keys[1].sha256: the value is the secret of another key already, keep one',
    ],
    'key-without-id.yaml': ['key-without-id.yaml:2:5: keys[0].id: is missing, add it'],
    'lane-unknown.yaml': [
      'lane-unknown.yaml:2:17: tiers.free.lane: "urgent" is not known here, write critical, high, normal or low',
    ],
    'ledger-memory.yaml': [
      'ledger-memory.yaml:1:9: ledger: "sqlite::memory:" names no file, write sqlite: and a plain path such as sqlite:./headgate.db',
    ],
    'ledger-mysql.yaml': [
      'ledger-mysql.yaml:1:9: ledger: "mysql://db/headgate" is not a ledger, write sqlite:PATH, one such as postgres://host/database, or off',
    ],
    'ledger-no-database.yaml': [
      'ledger-no-database.yaml:1:9: ledger: the value names no database, write one such as postgres://host/database',
    ],
    'price-no-unit.yaml': [
      'price-no-unit.yaml:2:22: prices.my-model.input: "3" is not a price, write AMOUNT USD/Mtok, such as 3 USD/Mtok or 0.25 USD/Mtok',
    ],
    'price-without-output.yaml': [
      'price-without-output.yaml:2:13: prices.my-model.output: is missing, add it',
    ],
    'require-key-text.yaml': [
      'require-key-text.yaml:1:26: identity.require_key: "yes" is not true or false, write one of them',
    ],
    'route-pattern.yaml': [
      'route-pattern.yaml:2:21: tiers.free.models: "claude sonnet" is not a model pattern, write a name with * for any letters',
    ],
    'route-with-space.yaml': [
      'route-with-space.yaml:2:26: tiers.free.models.*: "claude haiku" is not a model, write a name without spaces and *',
    ],
    'team-lane.yaml': [
      'team-lane.yaml:2:15: teams.research.lane: is not a known key, known here: requests, input_tokens, output_tokens, tokens, concurrency, max_tokens_per_request, budget, overflow, shadow',
    ],
    'team-unknown.yaml': [
      'team-unknown.yaml:6:13: keys[0].team: "reserch" is not a team of this file, did you mean research?',
    ],
    'tier-key-unknown.yaml': [
      'tier-key-unknown.yaml:2:11: tiers.free.requets: is not a known key, did you mean requests?',
    ],
    'tier-unknown.yaml': [
      'tier-unknown.yaml:3:18: users.alice.tier: "premum" is not a tier of this file, did you mean premium?',
    ],
    'tier-without-tiers.yaml': [
      'tier-without-tiers.yaml:1:15: default_tier: "free" is not a tier of this file, write it under tiers',
    ],
    'trusted-bad.yaml': [
      'trusted-bad.yaml:2:13: identity.trusted[0]: "10.0.0.0/33" is not a network, write one such as 10.0.0.0/8 or ::1',
    ],
    'user-header-taken.yaml': [
      'user-header-taken.yaml:1:26: identity.user_header: "Authorization" means something else already, name another header',
    ],
    'user-name-control.yaml': [
      'user-name-control.yaml:2:3: users: "a\\tb" is not a name, write 1 to 200 characters, in quotes if they are digits',
    ],
    'user-not-a-group.yaml': [
      'user-not-a-group.yaml:2:10: users.alice: "premium" is not a group of keys, write them indented below',
    ],
    'users-a-list.yaml': [
      'users-a-list.yaml:1:8: users: the value is not a group of names, write each with a colon on a line below',
    ],
    'warning-over-100.yaml': [
      'warning-over-100.yaml:1:29: budget_warnings.at[1]: "120" is not a whole number, write one from 1 to 100',
    ],
    'warning-twice.yaml': [
      'warning-twice.yaml:1:24: budget_warnings.at: the value has the same step twice, keep one',
    ],
    'webhook-http.yaml': [
      'webhook-http.yaml:2:19: budget_warnings.webhook.url: the value is not an https URL, plain http is only for this machine',
    ],
    'weight-zero.yaml': [
      'weight-zero.yaml:2:19: tiers.free.weight: "0" is not a whole number, write 1 or more',
    ],
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

const UNBOUND = {
  limits: [],
  shadowLimits: [],
  maxTokensPerRequest: null,
  shadowMaxTokensPerRequest: null,
  budgets: [],
  overflow: 'reject',
} as const satisfies TeamRule

const open = {
  ...UNBOUND,
  name: 'open',
  lane: 'normal',
  weight: 1,
  routes: [],
  allowedModels: null,
} as const satisfies Tier

const bucket = { algorithm: 'token_bucket', source: 'configured' } as const
const warnAt = [50, 100]

const free: Tier = {
  name: 'free',
  lane: 'low',
  weight: 2,
  limits: [{ ...bucket, dimension: 'requests', amount: 10, windowMs: 60_000, burst: 5 }],
  shadowLimits: [
    { algorithm: 'concurrency', dimension: 'concurrency', amount: 1, source: 'configured' },
  ],
  maxTokensPerRequest: 2000,
  shadowMaxTokensPerRequest: 1000,
  budgets: [
    {
      amount: 1_000_000_000,
      period: { unit: 'month', timeZone: 'Europe/Berlin' },
      warnAt,
      isShadow: false,
    },
    { amount: 250_000_000, period: { unit: 'hour', timeZone: 'UTC' }, warnAt, isShadow: false },
    { amount: 1, period: { unit: 'day', timeZone: 'UTC' }, warnAt, isShadow: true },
  ],
  routes: [
    { match: '*sonnet*', model: 'claude-haiku-4-5' },
    { match: '*', model: 'claude-haiku-3-5' },
  ],
  allowedModels: ['claude-haiku-*'],
  overflow: 'wait',
}

const research: TeamRule = {
  ...UNBOUND,
  limits: [{ ...bucket, dimension: 'tokens', amount: 5000, windowMs: 3_600_000 }],
  budgets: [
    {
      amount: 50_000_000_000,
      period: { unit: 'month', timeZone: 'UTC' },
      warnAt,
      isShadow: false,
    },
  ],
}

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
        ledger: { kind: 'sqlite', isDefault: true },
        rules: {
          tiers: new Map(),
          defaultTier: null,
          users: new Map(),
          keys: [],
          warnAt: [80, 100],
        },
        identity: {
          requireKey: false,
          userHeader: 'x-headgate-user',
          trusted: ['127.0.0.0/8', '::1/128'],
          metadataUser: false,
        },
        fallbackAfterMs: 30_000,
        unknownPrice: 'refuse',
        webhook: null,
        adminToken: null,
      },
    })
  })

  it('keeps the record in the data folder, or where the file of the ledger is named', () => {
    const ledgerOf = (env: Record<string, string>) => loadSettings({}, env, '/srv').settings.ledger
    expect(ledgerOf({ HEADGATE_LEDGER: 'sqlite:a/b.db' })).toEqual({
      kind: 'sqlite',
      file: '/srv/a/b.db',
      isDefault: false,
      shown: 'sqlite:a/b.db',
    })
    expect(ledgerOf({ XDG_DATA_HOME: '/data' })).toMatchObject({
      file: '/data/headgate/ledger.db',
      isDefault: true,
    })
  })

  it('asks for keys where there are some, and trusts nobody where others can reach it', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'headgate-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const keys = `keys: [{ id: ci, sha256: "${'0'.repeat(64)}" }]`
    writeFileSync(path.join(folder, 'headgate.yaml'), keys)
    const { settings, warnings } = loadSettings({ host: '0.0.0.0' }, {}, folder)
    expect(settings.identity).toMatchObject({ requireKey: true, trusted: [] })
    expect(warnings).toEqual([])
  })

  it('takes everything that a file can say', () => {
    const { settings } = loadSettings(file, { EXAMPLE_KEY: 'sk-ant-example' }, GOOD)
    const slots = { algorithm: 'concurrency', dimension: 'concurrency', source: 'configured' }
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
                { ...slots, amount: 10 },
              ],
            },
          ],
        },
      },
      resources: new Map([
        ['7', [{ ...slots, amount: 1 }]],
        [
          'anthropic-claude',
          [
            { ...consumed, dimension: 'requests', amount: 1000 },
            { ...consumed, dimension: 'tokens', amount: 200_000 },
            {
              ...consumed,
              dimension: 'tokens',
              amount: 2_000_000,
              algorithm: 'fixed_window',
              windowMs: 86_400_000,
              calendar: { unit: 'day', timeZone: 'UTC' },
            },
            { ...slots, amount: 10 },
          ],
        ],
      ]),
      leases: {
        defaultTtlMs: 10_000,
        maxTtlMs: 86_400_000,
        maxPerCaller: 5,
        origins: ['https://app.example'],
      },
      log: { level: 'warn', format: 'json' },
      ledger: {
        kind: 'postgres',
        url: 'postgres://gate:sk-ant-example@db/headgate?sslmode=require',
        shown: 'postgres://db/headgate',
      },
      rules: {
        tiers: new Map([
          ['free', free],
          ['open', open],
        ]),
        defaultTier: 'free',
        users: new Map([
          ['42', { tier: null, team: null }],
          ['alice', { tier: 'open', team: 'research' }],
        ]),
        teams: new Map([['research', research]]),
        keys: [
          {
            id: 'ci',
            sha256: '0123456789abcdef'.repeat(4),
            user: 'alice',
            team: 'research',
            tier: 'free',
            scopes: ['leases'],
            namesUsers: false,
            expiresAt: null,
            revokedAt: null,
          },
        ],
        warnAt: [50, 100],
      },
      identity: {
        requireKey: false,
        userHeader: 'x-user',
        trusted: ['10.0.0.0/8', '::1'],
        metadataUser: true,
      },
      fallbacks: [
        { match: 'claude-sonnet-4*', models: ['claude-haiku-4-5', 'claude-haiku-3-5'] },
        { match: 'other', models: ['claude-haiku-4-5'] },
      ],
      fallbackAfterMs: 5000,
      prices: [
        {
          match: 'my-model',
          input: 3_000_000,
          output: 15_000_000,
          cacheRead: 300_000,
          cacheWrite: 3_750_000,
          cacheWriteHour: 6_000_000,
        },
        { match: 'free-model', input: 0, output: 1 },
      ],
      unknownPrice: 'allow',
      webhook: { url: 'https://example.test/hook', secret: 'sk-ant-example' },
      adminToken: 'an-admin-token-of-some-length',
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
    [
      { HEADGATE_LEDGER: 'postgres://db/headgate' },
      'ledger: it is reached in clear, add ?sslmode=verify-full to its address',
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
    const local = { store: 'redis://[::1]', ledger: 'postgres://localhost/headgate' }
    expect(loadSettings({ ...flags, ...local }, {}, MISTAKES).warnings).toEqual([])
  })
})
