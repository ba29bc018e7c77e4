// The pages say what the code does, and nothing else: compared both ways.
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { main } from '../../src/cli/main.ts'
import * as leaseDocuments from '../../src/control/leases/lease-documents.ts'
import { statusSchema } from '../../src/control/status.ts'
import { VirtualClock } from '../../src/core/clock.ts'
import { LANES } from '../../src/core/lane.ts'
import { createMeter } from '../../src/core/meters/create-meter.ts'
import { REFUSALS, type RefusalReason } from '../../src/core/refusal.ts'
import { LEASE_REFUSALS } from '../../src/dispatch/lease-refusals.ts'
import { limitHeaders } from '../../src/dispatch/limit-headers.ts'
import { ANSWER_FAULTS, BATCH_FAULTS, DOOR_FAULTS } from '../../src/emulator/faults.ts'
import { patienceOf } from '../../src/gateway/patience.ts'
import { parseLedgerAddress } from '../../src/policy/ledger-address.ts'
import { jsonSchema } from '../../src/policy/schema.ts'
import { SETTINGS, upstreamSetting } from '../../src/policy/setting-table.ts'
import { parseStoreAddress } from '../../src/policy/store-address.ts'
import {
  formatDuration,
  parseBudget,
  parseDuration,
  parseLimit,
  parsePrice,
  parseSize,
} from '../../src/policy/units.ts'
import { anthropic } from '../../src/providers/anthropic/anthropic.ts'
import { limitGroupOf } from '../../src/providers/anthropic/limit-group.ts'
import { routeProvider } from '../../src/providers/providers.ts'
import { EventMetrics } from '../../src/telemetry/event-metrics.ts'
import { createLog, type LogEvent } from '../../src/telemetry/log.ts'
import { metricsText } from '../../src/telemetry/metrics.ts'
import { fakeIo } from '../cli/fake-io.ts'
import { type Family, readPrometheusText } from '../prometheus-text.ts'
import {
  allPages,
  bare,
  blocksOf,
  codesIn,
  type Page,
  ROOT,
  readPage,
  tableOf,
  tablesOf,
} from './markdown.ts'

/** The first columns of a table, without the marks of code. */
const columns = (rows: readonly (readonly string[])[], count: number): string[][] =>
  rows.map((row) => row.slice(0, count).map(bare))

const sorted = <T>(rows: readonly T[]): T[] =>
  [...rows].sort((a, b) => (String(a) < String(b) ? -1 : 1))

function sourceOf(...patterns: readonly string[]): string {
  const names = patterns.flatMap((pattern) => globSync(pattern, { cwd: ROOT }))
  const sources = names.filter((name) => !name.endsWith('.test.ts'))
  return sources.map((name) => readFileSync(path.join(ROOT, name), 'utf8')).join('\n')
}

const literals = (source: string, pattern: RegExp): string[] =>
  sorted([...new Set([...source.matchAll(pattern)].map((match) => match[1] ?? ''))])

type JsonSchema = z.core.JSONSchema.JSONSchema

/** Every path in a schema that holds a value, with its type in words. */
function leavesOf(schema: JsonSchema, at = ''): [at: string, type: string][] {
  const { properties, items, additionalProperties, required = [] } = schema
  if (items && typeof items === 'object' && !Array.isArray(items)) return leavesOf(items, `${at}[]`)
  if (additionalProperties && typeof additionalProperties === 'object')
    return leavesOf(additionalProperties, `${at}.*`)
  if (!properties) return [[at, typeOf(schema)]]
  return Object.entries(properties).flatMap(([key, value]) => {
    if (typeof value !== 'object') return []
    const leaves = leavesOf(value, at === '' ? key : `${at}.${key}`)
    return required.includes(key) ? leaves : leaves.map(([path, type]) => optional(path, type))
  })
}

const optional = (at: string, type: string): [string, string] => [at, `${type}, optional`]

const typeOf = ({ type }: JsonSchema): string => [type].flat().join(' or ')

describe('configuration.md', () => {
  const page = readPage('docs/reference/configuration.md')
  const settings = tableOf(page, 'key', 'flag')
  const fileOnly = tableOf(page, 'key', 'default')

  it('has every setting with its flag, variable and default', () => {
    const all = [...Object.values(SETTINGS), upstreamSetting('anthropic')]
    expect(columns(settings.rows, 4)).toEqual(
      all.map(({ key, option, defaultText }) => [
        key,
        option?.flag.split(' ')[0] ?? '',
        option?.variable ?? '',
        defaultText,
      ]),
    )
  })

  it('has every key of the file', () => {
    const [groups, bounds] = ['group', 'bound'].map((head) =>
      columns(tableOf(page, head).rows, 1).flat(),
    )
    const bounding = groups?.flatMap((group) => bounds?.map((key) => `${group}.${key}`) ?? []) ?? []
    const written = [...settings.rows, ...fileOnly.rows].map(([key]) => bare(key))
    const documented = [...written, ...bounding]
    const keys = leavesOf(jsonSchema()).map(([key]) => key)
    expect(sorted([...new Set(documented)])).toEqual(sorted(keys))
  })

  it('names the group of each model', () => {
    for (const [model = '', group] of columns(tableOf(page, 'model', 'group').rows, 2))
      expect([model, limitGroupOf(model, false)]).toEqual([model, group])
    expect(limitGroupOf('claude-opus-5', true)).toBe('claude-opus-5-fast')
  })

  it('writes addresses of stores as they are read', () => {
    const addresses = columns(tableOf(page, 'address', 'leads to').rows, 1).flat()
    expect(addresses.length).toBeGreaterThan(5)
    for (const address of addresses)
      expect([address, parseStoreAddress(address)]).toMatchObject([address, { kind: 'parsed' }])
  })

  it('writes addresses of ledgers as they are read', () => {
    const addresses = columns(tableOf(page, 'ledger').rows, 1).flat()
    expect(addresses.length).toBeGreaterThan(3)
    for (const address of addresses)
      expect([address, parseLedgerAddress(address)]).toMatchObject([address, { kind: 'parsed' }])
  })

  it('writes budgets and prices as they are read', () => {
    const examples = (name: string) =>
      codesIn(new RegExp(`\\*\\*${name}\\*\\*, such as (.*?)\\.\\s`).exec(page.text)?.[1] ?? '')
    expect(examples('Budgets')).toHaveLength(2)
    for (const text of examples('Budgets'))
      expect(parseBudget(text)).toMatchObject({ kind: 'parsed' })
    expect(examples('Prices')).toHaveLength(2)
    for (const text of examples('Prices'))
      expect(parsePrice(text)).toMatchObject({ kind: 'parsed' })
  })

  it('has every policy for a store that cannot be reached', () => {
    const policies = columns(tableOf(page, 'on_store_failure').rows, 1).flat()
    for (const policy of policies)
      expect(SETTINGS.onStoreFailure.type.safeParse(policy)).toMatchObject({ success: true })
    expect(policies).toHaveLength(3)
  })

  it('writes limits, durations and sizes as they are read', () => {
    for (const [limit = ''] of columns(tableOf(page, 'limit').rows, 1))
      expect(parseLimit('requests', limit)).toMatchObject({ kind: 'parsed' })
    const examples = (name: string) =>
      codesIn(new RegExp(`\\*\\*${name}\\*\\*: (.*?)\\.`).exec(page.text)?.[1] ?? '')
    expect(examples('Durations')).toHaveLength(5)
    for (const text of examples('Durations'))
      expect(parseDuration(text)).toMatchObject({ kind: 'parsed' })
    expect(examples('Sizes')).toHaveLength(3)
    for (const text of examples('Sizes')) expect(parseSize(text)).toMatchObject({ kind: 'parsed' })
  })
})

describe('command-line.md', () => {
  const page = readPage('docs/reference/command-line.md')
  const shown = new Map(
    page.text.split('\n## ').flatMap((section) => {
      const [block] = blocksOf({ name: page.name, text: section })
      return block ? [[section.split('\n')[0] ?? '', block.text.trimEnd()]] : []
    }),
  )

  async function helpOf(...argv: string[]): Promise<string> {
    const io = fakeIo()
    await main(argv, io)
    return io.out().trimEnd()
  }

  it('shows the help of every command as it is printed', async () => {
    const overview = await helpOf('--help')
    const listed = [
      ...overview.matchAll(/^ {2}(\w+)(?: \[options\])?(?: <\w+>| \[input\])? {2,}/gm),
    ]
    const commands = listed.flatMap(([, name = '']) => (name === 'headgate' ? [] : [name]))
    expect([...shown.keys()]).toEqual(['headgate', ...commands.map((name) => `headgate ${name}`)])
    expect(shown.get('headgate')).toBe(overview)
    for (const name of commands)
      expect(shown.get(`headgate ${name}`)).toBe(await helpOf('help', name))
  })

  it('has the commands about keys and budgets with their flags', async () => {
    const rows = tablesOf(page).flatMap(({ head, rows }) => (head[0] === 'command' ? rows : []))
    expect(rows).toHaveLength(9)
    for (const [command = '', flags = ''] of rows) {
      const [group = '', name = ''] = bare(command).split(' ')
      const help = await helpOf(group, 'help', name)
      expect(help).toContain(bare(command).replace(name, `${name} [options]`))
      const all = [...help.matchAll(/^ {2}(--\S+(?: <\w+>)?)/gm)].map(([, flag]) => flag)
      expect([command, ['--config <FILE>', '--ledger <URL>', ...codesIn(flags)].sort()]).toEqual([
        command,
        all.sort(),
      ])
    }
  })

  it('has every exit code', () => {
    const codes = Object.entries(EXIT).map(([name, code]) => [String(code), name])
    expect(columns(tableOf(page, 'exit code').rows, 2)).toEqual(codes)
  })
})

describe('errors.md', () => {
  it('has every reason with its status, type and whether to try again', () => {
    const reasons = Object.keys(REFUSALS) as RefusalReason[]
    const rows = reasons.map((reason) => {
      const refusal = { reason, message: 'no', retryAfterMs: 1000 }
      const { status, headers, body } = anthropic.renderRefusal(refusal, 'hg_1')
      const { type } = z
        .object({ error: z.object({ type: z.string() }) })
        .parse(JSON.parse(body)).error
      return [reason, String(status), type, headers['x-should-retry'] === 'true' ? 'yes' : 'no']
    })
    const page = readPage('docs/reference/errors.md')
    expect(columns(tableOf(page, 'reason').rows, 4)).toEqual(rows)
  })
})

const STANDING = {
  subject: 'user:alice',
  dimension: 'requests',
  capacity: 5,
  amount: 10,
  windowMs: 60_000,
  remaining: 3,
  fullAt: 12_000,
} as const

describe('headers.md', () => {
  const page = readPage('docs/reference/headers.md')
  const name = /'(x-headgate-[a-z-]*[a-z])'/g

  it('has every header that a request may have', () => {
    const documented = tableOf(page, 'header', 'value', 'without it').rows.map(([cell]) =>
      bare(cell),
    )
    const source = sourceOf(
      'src/dispatch/caller-wishes.ts',
      'src/gateway/gateway.ts',
      'src/policy/resolve-rules.ts',
    )
    expect(sorted(documented)).toEqual(literals(source, name))
  })

  it('has every header that an answer may have', () => {
    const [, answers] = tablesOf(page)
    const source = sourceOf(
      'src/gateway/http-caller.ts',
      'src/dispatch/governed-call.ts',
      'src/dispatch/limit-headers.ts',
    )
    const documented = (answers?.rows ?? []).map(([cell]) => bare(cell))
    const ofLimits = Object.keys(limitHeaders([STANDING], 0))
    expect(ofLimits.length).toBeGreaterThan(3)
    expect(sorted(documented)).toEqual(sorted([...literals(source, name), ...ofLimits]))
  })
})

describe('status.md', () => {
  it('has every field with its type', () => {
    const rows = columns(tableOf(readPage('docs/reference/status.md'), 'field').rows, 2)
    const fields = leavesOf(z.toJSONSchema(statusSchema)).map(([at, type]) => [
      at,
      type.replace(
        'optional',
        `${at.startsWith('store') ? 'shared stores' : 'learnt limits'} only`,
      ),
    ])
    expect(sorted(rows)).toEqual(sorted(fields))
  })
})

describe('paths.md', () => {
  const page = readPage('docs/reference/paths.md')

  it('says what each path means', () => {
    const { rows } = tableOf(page, 'method', 'path', 'pool', 'body')
    expect(rows.length).toBeGreaterThan(5)
    for (const [method = '', target = '', ...meaning] of columns(rows, 4)) {
      const operation = routeProvider(method, target, {})?.operation
      expect([target, operation?.pool, operation?.body]).toEqual([target, ...meaning])
    }
  })

  it('has every path of Headgate’s own', () => {
    const documented = tableOf(page, 'method', 'path', 'answers').rows.map(([, cell]) => bare(cell))
    const source = sourceOf('src/control/control.ts')
    expect(sorted(documented)).toEqual(literals(source, /^ {4}'(\/[^']+)':/gm))
  })
})

describe('leases.md', () => {
  const page = readPage('docs/reference/leases.md')
  const { acquireBody, leaseDocument, grantedDocument, waitingDocument } = leaseDocuments

  it('has every reason with its status', () => {
    const reasons = Object.entries(LEASE_REFUSALS).map(([name, { status }]) => [name, `${status}`])
    expect(columns(tableOf(page, 'reason of leases').rows, 2)).toEqual(reasons)
  })

  it('has every field of an ask, of an event and of a lease', () => {
    const fields = columns(tableOf(page, 'field of an ask').rows, 1).flat()
    expect(fields).toEqual(Object.keys(acquireBody.shape))
    const told = columns(tableOf(page, 'field of `waiting`').rows, 1).flat()
    expect(told).toEqual(Object.keys(waitingDocument.shape))
    const [, shown = ''] = /A lease is shown as `\{(.+?)\}`/.exec(page.text) ?? []
    expect(shown.match(/\w+/g)).toEqual(Object.keys(leaseDocument.shape))
    const [granted] = blocksOf(page)
    expect(Object.keys(JSON.parse(granted?.text ?? '{}'))).toEqual(
      Object.keys(grantedDocument.shape),
    )
  })

  it('names the other refusals as they are', () => {
    const [, others = ''] = /Others are \[those of calls\].+?:(.+?)\. A body/s.exec(page.text) ?? []
    const named = codesIn(others)
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((reason) => !(reason in REFUSALS))).toEqual([])
  })

  it('has every header that an ask may have', () => {
    const headers = columns(tableOf(page, 'header of an ask').rows, 1).flat()
    const source = sourceOf('src/control/leases/lease-door.ts')
    const read = literals(source, /headers(?:\['([a-z-]+)'\]|\.accept)/g)
    expect(sorted(headers)).toEqual(sorted(read.map((name) => name || 'accept')))
  })
})

describe('metrics.md', () => {
  const clock = new VirtualClock()
  const resource = {
    name: 'r',
    inFlight: 0,
    queued: 0,
    nextAt: null,
    boundBy: null,
    pausedUntil: null,
    concurrencyLimit: null,
    oldestEnqueuedAt: null,
    limits: [
      { dimension: 'tokens', amount: 1, windowMs: 1000, remaining: 1, source: 'learnt' },
    ] as const,
  }

  /** Of each there is a sample, once everything has happened. */
  async function allMetrics(): Promise<ReadonlyMap<string, Family>> {
    const counts = new EventMetrics(clock)
    counts.settled({ lane: 'normal', queuedMs: 0 }, 'answered', 200, { cost: 1 })
    counts.budgetWarned({ step: 80 })
    counts.refused({}, { reason: 'queue_full' })
    counts.bounced({}, 'overloaded')
    const store = { kind: 'memory', isDegraded: false, snapshot: async () => [resource] }
    return readPrometheusText(await metricsText({ clock, store, counts }))
  }

  it('has every metric with its type and labels', async () => {
    const { rows } = tableOf(readPage('docs/reference/metrics.md'), 'metric', 'type', 'labels')
    const families = [...(await allMetrics())].map(([name, { type, samples }]) => {
      const labels = Object.keys(samples[0]?.labels ?? {}).filter((label) => label !== 'le')
      expect([name, samples.length]).not.toEqual([name, 0])
      return [name, type, labels.join(', ')]
    })
    expect(sorted(columns(rows, 3))).toEqual(sorted(families))
  })

  it('counts no metric of the process as Headgate’s own', async () => {
    await allMetrics()
    const names = [...(await allMetrics()).keys()]
    const others = names.filter((name) => !name.startsWith('headgate_'))
    expect(others.length).toBeGreaterThan(10)
    expect(others.filter((name) => !/^(?:process|nodejs)_/.test(name))).toEqual([])
  })
})

describe('log.md', () => {
  const request = {
    id: 'hg_1',
    resource: 'r',
    flow: 'f',
    user: 'u',
    tier: 't',
    lane: 'normal',
    model: 'm',
    attempts: 1,
    queuedMs: 0,
    durationMs: 0,
  }

  /** Nothing writes `upstream.failed`, so it is not documented. */
  const events: Record<Exclude<LogEvent['kind'], 'upstream.failed'>, LogEvent> = {
    'request.settled': {
      ...request,
      kind: 'request.settled',
      outcome: 'answered',
      status: 200,
      inputTokens: 1,
      outputTokens: 1,
      costUsd: 1,
    },
    'request.refused': {
      ...request,
      kind: 'request.refused',
      reason: 'queue_full',
      retryAfterMs: 1,
    },
    'request.cancelled': { ...request, kind: 'request.cancelled' },
    'request.bounced': {
      ...request,
      kind: 'request.bounced',
      reason: 'overloaded',
      status: 529,
    },
    'request.shadowed': { ...request, kind: 'request.shadowed', rule: 'r' },
    'request.turned_away': { kind: 'request.turned_away', reason: 'key_unknown' },
    'budget.warned': {
      kind: 'budget.warned',
      subject: 'user:u',
      step: 80,
      spentUsd: 1,
      amountUsd: 1,
      period: 'month',
      mode: 'enforced',
    },
    'ledger.unavailable': { kind: 'ledger.unavailable', why: 'w' },
    'ledger.returned': { kind: 'ledger.returned', afterMs: 1, pending: 1 },
    'ledger.recovered': { kind: 'ledger.recovered', requests: 1, costUsd: 1 },
    'policy.reloaded': { kind: 'policy.reloaded', file: 'f' },
    'limits.learnt': {
      kind: 'limits.learnt',
      resource: 'r',
      dimension: 'requests',
      amount: 1,
      windowMs: 1,
    },
    'resource.paused': { kind: 'resource.paused', resource: 'r', pausedMs: 1 },
    'store.degraded': { kind: 'store.degraded', policy: 'degrade', why: 'w', instances: 2 },
    'store.returned': { kind: 'store.returned', afterMs: 1, resources: 1, rejoined: 1 },
    'gate.listening': { kind: 'gate.listening', url: 'u', store: 'memory' },
    'gate.stopping': { kind: 'gate.stopping', signal: 'SIGTERM', inFlight: 0, queued: 0 },
    'gate.stopped': { kind: 'gate.stopped' },
  }

  it('has every event with its level and fields', () => {
    const lines: string[] = []
    const log = createLog({
      level: 'debug',
      format: 'json',
      destination: { write: (line) => lines.push(line) },
    })
    for (const event of Object.values(events)) log.event(event)
    log.warn('a sentence')
    log.error('what', new Error('why'))
    const written = lines.map((line) => {
      const { level, event, time: _, ...fields } = z.looseObject({}).parse(JSON.parse(line))
      return [String(event), String(level), Object.keys(fields).join(', ')]
    })
    const { rows } = tableOf(readPage('docs/reference/log.md'), 'event', 'level')
    expect(columns(rows, 3)).toEqual(written)
  })
})

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS

/** How much passes within any such span where somebody always waits, from just before an edge on. */
function mostWithin(spanMs: number, text: string): number {
  const limit = parseLimit('requests', text)
  if (limit.kind === 'refused') throw new Error(`${text} ${limit.why}`)
  let now = MINUTE_MS - SECOND_MS / 10
  const meter = createMeter(limit.value, now)
  const passedAt: number[] = []
  while (now < 4 * MINUTE_MS) {
    meter.take(1, now)
    passedAt.push(now)
    now = meter.readyAt(1, now)
  }
  // Instants of a refill are sums of fractions.
  const endsBy = (at: number): number => at + spanMs + 1e-6
  return Math.max(
    ...passedAt.map(
      (from, index) => passedAt.findLastIndex((at) => at <= endsBy(from)) - index + 1,
    ),
  )
}

describe('the guide', () => {
  it('has the lanes in their order', () => {
    const page = readPage('docs/guide/lanes-and-deadlines.md')
    expect(tableOf(page, 'lane').rows.map(([lane]) => bare(lane))).toEqual([...LANES])
  })

  it('says how much each kind of limit lets through at the most', () => {
    const { rows } = tableOf(readPage('docs/guide/limits.md'), 'limit', 'in any second')
    expect(rows.length).toBe(4)
    for (const [limit = '', inSecond, inMinute] of columns(rows, 3)) {
      const actual = [SECOND_MS, MINUTE_MS].map((spanMs) => String(mostWithin(spanMs, limit)))
      expect([limit, inSecond, inMinute]).toEqual([limit, ...actual])
    }
  })

  it('has every fault with its rate, those before admission first', () => {
    const faults = { ...DOOR_FAULTS, ...ANSWER_FAULTS, ...BATCH_FAULTS }
    const page = readPage('docs/guide/emulator.md')
    expect(columns(tableOf(page, 'fault').rows, 2)).toEqual(Object.entries(faults))
  })
})

describe('the design', () => {
  it('says when each client is shown life', () => {
    const page = readPage('docs/design/keepalive.md')
    const { rows } = tableOf(page, 'headers')
    expect(rows.length).toBeGreaterThan(3)
    const words = (ms: number | null): string =>
      ms === null || ms === Number.POSITIVE_INFINITY ? 'never' : formatDuration(Math.round(ms))
    for (const [headers = '', ...times] of rows) {
      const pairs = codesIn(headers).map((header) => header.split(': '))
      const patience = patienceOf(Object.fromEntries(pairs), '1.1')
      const { processingEveryMs, commitStreamAfterMs, longestPlainWaitMs } = patience
      const actual = [processingEveryMs, commitStreamAfterMs, longestPlainWaitMs].map(words)
      expect([headers, ...times]).toEqual([headers, ...actual])
    }
  })

  it('gives constants the values that they have', () => {
    const constants = allPages().flatMap(constantsIn)
    expect(constants.length).toBeGreaterThan(20)
    for (const { file, name, value } of constants) {
      const [, actual] = new RegExp(`const ${name}(?:: \\w+)? = (.+)`).exec(sourceOf(file)) ?? []
      expect([name, value]).toEqual([name, actual?.replaceAll('_', '')])
    }
  })
})

/** What tables headed "constant in `file`" say. */
function constantsIn(page: Page) {
  return tablesOf(page).flatMap(({ head, rows }) => {
    const [, file] = /^constant in `(.+)`$/.exec(head[0] ?? '') ?? []
    if (file === undefined) return []
    return rows.map(([name, value = '']) => ({ file, name: bare(name), value }))
  })
}
