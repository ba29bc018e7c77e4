// HTTP for what was used, and for what binds a user. Must not know: how usage is kept.
import { createRoute } from '@hono/zod-openapi'
import { z } from 'zod'
import type { UsageQuery } from '../../ledger/ledger.ts'
import * as values from '../../policy/values.ts'
import type { Administration } from '../administration.ts'
import { effectivePolicy, policyView } from '../effective-policy.ts'
import { usageCsv } from '../usage-csv.ts'
import { usageView, viewOfUsage } from '../views.ts'
import { instant, startOfMonth, subjectName } from '../written.ts'
import { type AddRoutes, json, REFUSALS, SECURITY } from './routes.ts'

const query = z.object({
  subject: subjectName.optional(),
  from: instant
    .optional()
    .meta({ description: 'Inclusive; without it, this month’s start in UTC.' }),
  to: instant.optional().meta({ description: 'Exclusive; without it, now.' }),
})

const total = createRoute({
  method: 'get',
  path: '/usage',
  tags: ['usage'],
  summary: 'What was used, in sum.',
  security: SECURITY,
  request: { query },
  responses: { 200: json(usageView, 'The sum.'), ...REFUSALS },
})

const table = createRoute({
  method: 'get',
  path: '/usage.csv',
  tags: ['usage'],
  summary: 'What was used, attempt by attempt, as CSV.',
  security: SECURITY,
  request: { query },
  responses: {
    200: { description: 'The table.', content: { 'text/csv': { schema: z.string() } } },
    ...REFUSALS,
  },
})

const policy = createRoute({
  method: 'get',
  path: '/subjects/{user}',
  tags: ['subjects'],
  summary: 'What binds a user.',
  security: SECURITY,
  request: { params: z.object({ user: values.name }) },
  responses: { 200: json(policyView, 'The policy in effect.'), ...REFUSALS },
})

export const addUsageRoutes: AddRoutes = (app, { admin }) => {
  app.openapi(total, async (c) => {
    const asked = wholeQuery(admin, c.req.valid('query'))
    return c.json(viewOfUsage(asked, await admin.ledger.total(asked)), 200)
  })
  app.openapi(table, async (c) => {
    const chunks = usageCsv(admin.ledger.events(wholeQuery(admin, c.req.valid('query'))))
    // Waited for, so that a ledger that can't be read is refused with a status.
    const first = await chunks.next()
    return c.body(ReadableStream.from(encoded(first.value ?? '', chunks)), 200, {
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': 'attachment; filename="headgate-usage.csv"',
    })
  })
  app.openapi(policy, async (c) =>
    c.json(await effectivePolicy(admin, c.req.valid('param').user), 200),
  )
}

function wholeQuery({ clock }: Administration, asked: z.output<typeof query>): UsageQuery {
  const { subject, from = startOfMonth(clock.now()), to = clock.now() } = asked
  return subject === undefined ? { from, to } : { subject, from, to }
}

async function* encoded(
  first: string,
  rest: AsyncIterable<string>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder()
  yield encoder.encode(first)
  for await (const chunk of rest) yield encoder.encode(chunk)
}
