// What all routes of administrators share. Owns: how a request is described, and what it may be
// refused with. Must not know: any one route.
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { z } from 'zod'
import type { Administration } from '../administration.ts'
import { PROBLEM_TYPE, problemSchema } from '../problem.ts'

export interface AdminRoutes {
  readonly admin: Administration
  /** Lets what was just changed take effect here. */
  readonly changed: () => Promise<void>
}

/** Adds its routes to the application. */
export type AddRoutes = (app: OpenAPIHono, routes: AdminRoutes) => void

export const SECURITY = [{ adminToken: [] }]

/** Every route may answer these. */
export const REFUSALS = Object.fromEntries(
  Object.entries({
    400: 'Something that was sent is wrong.',
    401: 'The token is missing or wrong.',
    403: 'No token is configured, or a page in a browser asks.',
    404: 'There is no such thing.',
    409: 'It is not possible as things stand.',
    503: 'The ledger cannot be used now.',
  }).map(([status, description]) => [
    status,
    { description, content: { [PROBLEM_TYPE]: { schema: problemSchema } } },
  ]),
)

export function json<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { 'application/json': { schema } } }
}

export function body<T extends z.ZodType>(schema: T, required = true) {
  return { required, content: { 'application/json': { schema } } }
}
