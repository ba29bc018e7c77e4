// The coordinator's documents as the client reads them. Owns: which fields count, and that a document
// without them is none. Must not know: how it came.
import type { FieldProblem, Problem } from './errors.ts'
import type { Progress } from './lease.ts'

export interface Granted {
  readonly id: string
  readonly resource: string
  readonly grantedAt: number
  readonly waitedMs: number
  readonly ttlMs: number
}

export interface Waiting extends Progress {
  readonly id: string
  /** It had a place, and stands at the end of the line again. */
  readonly placeLost: boolean
}

export interface CheckAnswer {
  readonly allowed: boolean
  /** What the limit that refuses has counted, or else the tightest one. */
  readonly count: number
  /** What that limit allows; null where no limit is known. */
  readonly max: number | null
  /** When there is room, in milliseconds; null where that is not known. */
  readonly retryAfterMs: number | null
}

/** What came is no document of a coordinator. */
export class NotUnderstood extends Error {
  override readonly name = 'NotUnderstood'
}

type Fields = Readonly<Record<string, unknown>>

/** @throws NotUnderstood */
export function readGranted(text: string): Granted {
  const fields = fieldsOf(text)
  return {
    id: need(textOf(fields.id), 'id'),
    resource: need(textOf(fields.resource), 'resource'),
    grantedAt: need(numberOf(fields.grantedAt), 'grantedAt'),
    waitedMs: need(numberOf(fields.waitedMs), 'waitedMs'),
    ttlMs: need(numberOf(fields.ttlMs), 'ttlMs'),
  }
}

/** @throws NotUnderstood */
export function readWaiting(text: string): Waiting {
  const fields = fieldsOf(text)
  return {
    id: need(textOf(fields.id), 'id'),
    position: need(numberOf(fields.position), 'position'),
    expectedInMs: numberOf(fields.expectedInMs),
    boundBy: textOf(fields.boundBy),
    placeLost: fields.placeLost === true,
  }
}

/** @throws NotUnderstood */
export function readRenewed(text: string): { readonly ttlMs: number } {
  return { ttlMs: need(numberOf(fieldsOf(text).ttlMs), 'ttlMs') }
}

/** @throws NotUnderstood */
export function readChecked(text: string): CheckAnswer {
  const fields = fieldsOf(text)
  const { allowed } = fields
  if (typeof allowed !== 'boolean') throw new NotUnderstood('the answer has no allowed')
  const retryAfterSeconds = numberOf(fields.retry_after)
  return {
    allowed,
    count: need(numberOf(fields.count), 'count'),
    max: numberOf(fields.max),
    retryAfterMs: retryAfterSeconds === null ? null : retryAfterSeconds * 1000,
  }
}

/** A refusal, also one of a proxy in between, which writes what it likes. */
export function readProblem(text: string, httpStatus?: number): Problem {
  const fields = objectIn(text) ?? {}
  const status = numberOf(fields.status) ?? httpStatus ?? 500
  return {
    status,
    reason: textOf(fields.reason) ?? `http_${status}`,
    detail: textOf(fields.detail) ?? `the answer was ${status}, and did not say why`,
    errors: Array.isArray(fields.errors) ? fields.errors.flatMap(fieldProblem) : [],
    retryAfterMs: numberOf(fields.retryAfterMs),
  }
}

function fieldProblem(value: unknown): FieldProblem[] {
  if (!isFields(value)) return []
  const field = textOf(value.field)
  const detail = textOf(value.detail)
  return field === null || detail === null ? [] : [{ field, detail }]
}

function fieldsOf(text: string): Fields {
  const fields = objectIn(text)
  if (!fields) throw new NotUnderstood('the answer is no JSON object')
  return fields
}

function objectIn(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text)
    return isFields(value) ? value : null
  } catch {
    return null
  }
}

function need<T>(value: T | null, name: string): T {
  if (value === null) throw new NotUnderstood(`the answer has no ${name}`)
  return value
}

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null

const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)

const numberOf = (value: unknown): number | null => (typeof value === 'number' ? value : null)
