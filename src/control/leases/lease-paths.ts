// The coordinator's paths, for programs to read. Owns: their description. Must not know: how they are
// answered.
import type { OpenAPIHono } from '@hono/zod-openapi'
import { z } from 'zod'
import { PROBLEM_TYPE, problemSchema } from '../problem.ts'
import {
  acquireBody,
  checkBody,
  checkedDocument,
  grantedDocument,
  leasesDocument,
  oneLeaseDocument,
  renewBody,
  renewedDocument,
  settleBody,
  settledDocument,
  waitingDocument,
} from './lease-documents.ts'

const tags = ['leases']
const security = [{ headgateKey: [] }, { headgateBearer: [] }, { adminToken: [] }, {}]
const params = z.object({ id: z.string() })

const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})

const body = <T extends z.ZodType>(schema: T, required = true) => ({
  required,
  content: { 'application/json': { schema } },
})

const refusals = Object.fromEntries(
  Object.entries({
    400: 'Something that was sent is wrong.',
    401: 'A key is missing, or it is not good.',
    403: 'The key does not open leases, or a page in a browser asks.',
    404: 'There is no such resource or lease.',
    409: 'The lease has ended, its ask still waits, or it was cancelled.',
    429: 'There is no room, or the wait was too long: see retry-after.',
    503: 'The gate is stopping, or its store cannot be reached.',
  }).map(([status, description]) => [
    status,
    { description, content: { [PROBLEM_TYPE]: { schema: problemSchema } } },
  ]),
)

const wait = z.object({
  'idempotency-key': z
    .string()
    .optional()
    .meta({ description: 'The same again, within the same resource, is the same ask.' }),
  'x-headgate-resume': z
    .literal('1')
    .optional()
    .meta({ description: 'The connection that it waited on was lost.' }),
})

export function describeLeases({ openAPIRegistry: registry }: OpenAPIHono): void {
  registry.registerComponent('securitySchemes', 'headgateKey', {
    type: 'apiKey',
    in: 'header',
    name: 'x-headgate-key',
    description: 'A Headgate key with the scope leases. This machine may do without.',
  })
  registry.registerComponent('securitySchemes', 'headgateBearer', {
    type: 'http',
    scheme: 'bearer',
    description: 'The same key, as Authorization: Bearer.',
  })
  registry.registerPath({
    method: 'post',
    path: '/leases',
    tags,
    security,
    summary: 'Ask for a lease, and wait for it.',
    request: { headers: wait, body: body(acquireBody) },
    responses: {
      201: json(grantedDocument, 'The lease.'),
      200: {
        description:
          'Where text/event-stream is accepted: events waiting, then one granted or refused.',
        content: {
          'text/event-stream': {
            schema: z.union([waitingDocument, grantedDocument, problemSchema]),
          },
        },
      },
      ...refusals,
    },
  })
  registry.registerPath({
    method: 'get',
    path: '/leases',
    tags,
    security,
    summary: 'One’s own asks and leases, or everybody’s with the scope leases:all.',
    request: { query: z.object({ resource: z.string().optional() }) },
    responses: { 200: json(leasesDocument, 'In order of arrival.'), ...refusals },
  })
  registry.registerPath({
    method: 'get',
    path: '/leases/{id}',
    tags,
    security,
    summary: 'One lease, or an ask and where it stands.',
    request: { params },
    responses: { 200: json(oneLeaseDocument, 'As it is now.'), ...refusals },
  })
  registry.registerPath({
    method: 'delete',
    path: '/leases/{id}',
    tags,
    security,
    summary: 'Give a lease back as if nothing had been used, or cancel an ask.',
    request: { params },
    responses: { 204: { description: 'It has ended.' }, ...refusals },
  })
  registry.registerPath({
    method: 'post',
    path: '/leases/{id}/renew',
    tags,
    security,
    summary: 'A sign of life.',
    request: { params, body: body(renewBody, false) },
    responses: { 200: json(renewedDocument, 'Until when it lasts now.'), ...refusals },
  })
  registry.registerPath({
    method: 'post',
    path: '/leases/{id}/settle',
    tags,
    security,
    summary: 'End a lease with what it used.',
    request: { params, body: body(settleBody, false) },
    responses: { 200: json(settledDocument, 'It has ended.'), ...refusals },
  })
  registry.registerPath({
    method: 'post',
    path: '/check',
    tags,
    security,
    summary: 'May it go on now? What is allowed is counted at once.',
    request: { body: body(checkBody) },
    responses: { 200: json(checkedDocument, 'Yes or no.'), ...refusals },
  })
}
