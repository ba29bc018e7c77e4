// HTTP for budgets. Must not know: how a budget is kept or counted.
import { createRoute } from '@hono/zod-openapi'
import { z } from 'zod'
import type { SubjectName } from '../../ledger/ledger.ts'
import type { Administration } from '../administration.ts'
import { budgetStandings, resetBudgets, setBudget, unsetBudget } from '../budgets.ts'
import { type BudgetView, budgetView, viewOfBudget } from '../views.ts'
import { budget, subjectName } from '../written.ts'
import { type AddRoutes, body, json, REFUSALS, SECURITY } from './routes.ts'

const tags = ['budgets']
const params = z.object({ subject: subjectName })
const budgets = json(z.object({ budgets: z.array(budgetView) }), 'The budgets as they stand now.')

const list = createRoute({
  method: 'get',
  path: '/budgets',
  tags,
  summary: 'How budgets stand: one subject’s, or those of all that are known by name.',
  security: SECURITY,
  request: { query: z.object({ subject: subjectName.optional() }) },
  responses: { 200: budgets, ...REFUSALS },
})

const set = createRoute({
  method: 'put',
  path: '/budgets/{subject}',
  tags,
  summary: 'Set a subject’s budget, in place of those of the configuration.',
  security: SECURITY,
  request: {
    params,
    body: body(z.strictObject({ budget: budget.meta({ description: 'Such as 50 USD/month.' }) })),
  },
  responses: { 200: budgets, ...REFUSALS },
})

const unset = createRoute({
  method: 'delete',
  path: '/budgets/{subject}',
  tags,
  summary: 'Back to the budgets of the configuration.',
  security: SECURITY,
  request: { params },
  responses: { 200: budgets, ...REFUSALS },
})

const reset = createRoute({
  method: 'post',
  path: '/budgets/{subject}/reset',
  tags,
  summary: 'Give back what a subject has spent in the present periods.',
  security: SECURITY,
  request: { params },
  responses: { 200: budgets, ...REFUSALS },
})

export const addBudgetRoutes: AddRoutes = (app, { admin, changed }) => {
  app.openapi(list, async (c) => {
    const { subject = null } = c.req.valid('query')
    return c.json(await standing(admin, subject), 200)
  })
  app.openapi(set, async (c) => {
    const { subject } = c.req.valid('param')
    await setBudget(admin, subject, c.req.valid('json').budget)
    await changed()
    return c.json(await standing(admin, subject), 200)
  })
  app.openapi(unset, async (c) => {
    const { subject } = c.req.valid('param')
    await unsetBudget(admin, subject)
    await changed()
    return c.json(await standing(admin, subject), 200)
  })
  app.openapi(reset, async (c) => {
    const { subject } = c.req.valid('param')
    await resetBudgets(admin, subject)
    return c.json(await standing(admin, subject), 200)
  })
}

async function standing(
  admin: Administration,
  subject: SubjectName | null,
): Promise<{ budgets: BudgetView[] }> {
  return { budgets: (await budgetStandings(admin, subject)).map(viewOfBudget) }
}
