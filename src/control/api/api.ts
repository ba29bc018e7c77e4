// The part of the control plane that people and programs administer with. Owns: the application, who is
// let in, and how errors are answered. Must not know: any one route.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { Administration } from '../administration.ts'
import { describeLeases } from '../leases/lease-paths.ts'
import { invalidInput, PROBLEM_TYPE, problem, problemOf, type Refusal } from '../problem.ts'
import { statusSchema } from '../status.ts'
import { refusalOf } from './access.ts'
import { addBudgetRoutes } from './budget-routes.ts'
import { addKeyRoutes } from './key-routes.ts'
import { json } from './routes.ts'
import { addUsageRoutes } from './usage-routes.ts'

export interface ApiOptions {
  /** Null: money is kept nowhere, so there is nothing to administer. */
  readonly admin: Administration | null
  /** Null: nobody administers. */
  readonly token: () => string | null
  /** Lets what was just changed take effect here. */
  readonly changed: () => Promise<void>
  readonly failed: (error: unknown) => void
}

const BASE_PATH = '/headgate/v1'

/** Reached by whoever has the token, from any machine; other paths from this machine only. */
const ADMIN_PATHS = ['keys', 'budgets', 'usage', 'usage.csv', 'subjects']

const LARGEST_BODY_BYTES = 64 * 1024

export function isAdminPath(path: string): boolean {
  return ADMIN_PATHS.some((name) => {
    const own = `${BASE_PATH}/${name}`
    return path === own || path.startsWith(`${own}/`)
  })
}

export function createApi(
  options: ApiOptions,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const app = createApp(options)
  return getRequestListener(app.fetch, { overrideGlobalObjects: false })
}

function createApp({ admin, token, changed, failed }: ApiOptions): OpenAPIHono {
  const app = new OpenAPIHono({
    defaultHook: (result, c) =>
      result.success ? undefined : answer(c, invalidInput(result.error)),
  }).basePath(BASE_PATH)
  for (const path of ADMIN_PATHS) {
    app.use(`/${path}/*`, async (c, next) => {
      const { authorization, origin } = c.req.header()
      const refusal = refusalOf({ authorization, origin }, token())
      if (refusal) return answer(c, refusal)
      if (!admin)
        return answer(c, problem(409, 'There is no ledger: set ledger in the configuration.'))
      c.header('cache-control', 'no-store')
      return await next()
    })
  }
  app.use(async (c, next) => {
    const refusal = bodyRefusal(c.req.header())
    return refusal ? answer(c, refusal) : await next()
  })
  if (admin)
    for (const add of [addKeyRoutes, addBudgetRoutes, addUsageRoutes]) add(app, { admin, changed })
  addDocument(app)
  app.notFound((c) => answer(c, problem(404, nothingAt(c.req))))
  app.onError((error, c) => answer(c, refusalFor(error) ?? fault(error, failed)))
  return app
}

/** A body says first how long it is, so that none is read that is too long. */
function bodyRefusal(headers: Record<string, string>): Refusal | null {
  if (headers['transfer-encoding'] !== undefined) {
    return problem(411, 'Send the body with its content-length.')
  }
  return Number(headers['content-length'] ?? 0) > LARGEST_BODY_BYTES
    ? problem(413, `A body has ${LARGEST_BODY_BYTES / 1024} KiB at most.`)
    : null
}

const nothingAt = ({ method, path }: { readonly method: string; readonly path: string }): string =>
  `There is nothing at ${method} ${path.slice(0, 200)}.`

function answer(c: Context, { status, ...rest }: Refusal): Response {
  const headers: Record<string, string> = {
    'content-type': PROBLEM_TYPE,
    'cache-control': 'no-store',
  }
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="headgate"'
  if (status === 503) headers['retry-after'] = '5'
  return c.json({ status, ...rest }, status, headers)
}

function refusalFor(error: Error): Refusal | null {
  if (!(error instanceof HTTPException)) return problemOf(error)
  return error.status === 415
    ? problem(415, 'Send JSON: content-type: application/json.')
    : problem(400, 'The body is not JSON.')
}

function fault(error: Error, failed: (error: unknown) => void): Refusal {
  failed(error)
  return problem(500, 'Something failed inside the gate: its log says what.')
}

function addDocument(app: OpenAPIHono): void {
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/status',
    tags: ['status'],
    summary: 'What the gate is doing. Answered to this machine only.',
    responses: { 200: json(statusSchema, 'The status.') },
  })
  describeLeases(app)
  app.openAPIRegistry.registerComponent('securitySchemes', 'adminToken', {
    type: 'http',
    scheme: 'bearer',
    description: 'admin.token of the configuration.',
  })
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: { title: 'Headgate', version: 'v1', description: 'The control plane of a gate.' },
  })
}
