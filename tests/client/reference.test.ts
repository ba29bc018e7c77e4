// The page about the client says what the code does, and nothing else.
import { describe, expect, it } from 'vitest'
import {
  type CheckOptions,
  type ClientAcquireOptions,
  type ClientEvent,
  type ClientLease,
  type ConnectOptions,
  Forbidden,
  HeadgateError,
  Invalid,
  LeaseLost,
  type Problem,
  Refused,
  Unreachable,
} from '../../src/client/connect.ts'
import { bare, codesIn, readPage, tableOf, tablesOf } from '../docs/markdown.ts'

const page = readPage('docs/reference/client.md')

/** Every name that a type has: the compiler knows of more, or of fewer. */
type Names<T> = Record<keyof T, true>

const CONNECT: Names<ConnectOptions> = {
  url: true,
  key: true,
  fetch: true,
  onUnreachable: true,
  unreachableAfterMs: true,
  onEvent: true,
}

const CHECK: Names<CheckOptions> = { load: true, lane: true, flow: true, signal: true }

const ACQUIRE: Names<ClientAcquireOptions> = {
  load: true,
  lane: true,
  flow: true,
  maxWaitMs: true,
  ttlMs: true,
  signal: true,
  onProgress: true,
}

const LEASE: Names<Omit<ClientLease, typeof Symbol.asyncDispose>> = {
  id: true,
  resource: true,
  grantedAt: true,
  waitedMs: true,
  isGoverned: true,
  signal: true,
  settle: true,
  release: true,
}

const EVENTS: { [Kind in ClientEvent['kind']]: Names<Extract<ClientEvent, { kind: Kind }>> } = {
  reconnecting: { kind: true, resource: true, why: true },
  reconnected: { kind: true, resource: true, id: true },
  place_lost: { kind: true, resource: true, id: true },
  ungoverned: { kind: true, resource: true, error: true },
  lost: { kind: true, resource: true, id: true, error: true },
  left_open: { kind: true, resource: true, id: true, error: true },
}

const PROBLEM: Problem = { status: 400, reason: 'r', detail: 'd', errors: [], retryAfterMs: null }

const firstColumn = (rows: readonly (readonly string[])[]): string[] =>
  rows.flatMap(([cell = '']) => codesIn(cell).map((code) => code.replace(/\(.*\)$/, '')))

describe('client.md', () => {
  it('has every option', () => {
    const [connecting, acquiring] = tablesOf(page).filter(({ head }) => head[0] === 'option')
    expect(firstColumn(connecting?.rows ?? [])).toEqual(Object.keys(CONNECT))
    expect(firstColumn(acquiring?.rows ?? [])).toEqual(Object.keys(ACQUIRE))
    expect(page.text).toContain(`headgate.check(resource, { ${Object.keys(CHECK).join(', ')} })`)
  })

  it('has every field of a lease', () => {
    expect(firstColumn(tableOf(page, 'field').rows)).toEqual(Object.keys(LEASE))
  })

  it('has every error with its code', () => {
    const errors = [
      new Refused(PROBLEM),
      new Invalid(PROBLEM),
      new Forbidden(PROBLEM),
      new Unreachable('u', null),
      new LeaseLost('l', null),
    ]
    expect(errors.every((error) => error instanceof HeadgateError)).toBe(true)
    const rows = tableOf(page, 'class', 'code').rows.map((row) => row.slice(0, 2).map(bare))
    expect(rows).toEqual(errors.map(({ name, code }) => [name, code]))
    expect(page.text).toContain(`{ ${Object.keys(PROBLEM).join(', ')} }`)
  })

  it('has every event with its fields', () => {
    const rows = tableOf(page, 'kind', 'fields').rows.map(([kind, fields = '']) => [
      bare(kind),
      codesIn(fields),
    ])
    const told = Object.entries(EVENTS).map(([kind, fields]) => [
      kind,
      Object.keys(fields).filter((name) => name !== 'kind'),
    ])
    expect(rows).toEqual(told)
  })
})
