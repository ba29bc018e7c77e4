// HTTP for virtual keys. Must not know: what a key is, or where it is kept.
import { createRoute } from '@hono/zod-openapi'
import { z } from 'zod'
import { USUAL_SCOPES } from '../../policy/subject.ts'
import * as values from '../../policy/values.ts'
import { createKey, listKeys, revokeKey, rotateKey } from '../keys.ts'
import { keyView, viewOfKey } from '../views.ts'
import { type AddRoutes, body, json, REFUSALS, SECURITY } from './routes.ts'

const tags = ['keys']
const params = z.object({ id: values.name })
const secret = z.string().meta({ description: 'Shown this once; only its hash is kept.' })

const list = createRoute({
  method: 'get',
  path: '/keys',
  tags,
  summary: 'All keys, without their secrets.',
  security: SECURITY,
  responses: { 200: json(z.object({ keys: z.array(keyView) }), 'The keys.'), ...REFUSALS },
})

const create = createRoute({
  method: 'post',
  path: '/keys',
  tags,
  summary: 'Issue a key.',
  security: SECURITY,
  request: {
    body: body(
      z.strictObject({
        id: values.name.meta({ description: 'Its name.' }),
        user: values.name.optional(),
        team: values.name.optional(),
        tier: values.name.optional(),
        scopes: z
          .array(values.scope)
          .min(1)
          .optional()
          .meta({
            description: `What it opens; without it ${USUAL_SCOPES.join(' and ')}.`,
          }),
        expiresIn: values.positiveDuration.optional().meta({ description: 'Such as 90d.' }),
      }),
    ),
  },
  responses: { 201: json(z.object({ id: z.string(), secret }), 'The key.'), ...REFUSALS },
})

const revoke = createRoute({
  method: 'delete',
  path: '/keys/{id}',
  tags,
  summary: 'Revoke a key: it is refused from now on.',
  security: SECURITY,
  request: { params },
  responses: { 204: { description: 'It is revoked.' }, ...REFUSALS },
})

/** Long enough to hand the new secret round. */
const USUAL_GRACE_MS = 86_400_000

const rotate = createRoute({
  method: 'post',
  path: '/keys/{id}/rotate',
  tags,
  summary: 'Give a key a new secret. The old ones stay in force for the grace.',
  security: SECURITY,
  request: {
    params,
    body: body(
      z.strictObject({
        grace: values.duration.optional().meta({ description: 'Such as 1h; without it 1d.' }),
      }),
      false,
    ),
  },
  responses: {
    200: json(
      z.object({ id: z.string(), secret, othersExpireAt: z.iso.datetime() }),
      'The new secret.',
    ),
    ...REFUSALS,
  },
})

export const addKeyRoutes: AddRoutes = (app, { admin, changed }) => {
  app.openapi(list, async (c) => c.json({ keys: (await listKeys(admin)).map(viewOfKey) }, 200))
  app.openapi(create, async (c) => {
    const { user = null, team = null, tier = null, scopes = null, ...more } = c.req.valid('json')
    const { id, expiresIn: expiresInMs = null } = more
    const issued = await createKey(admin, { id, user, team, tier, scopes, expiresInMs })
    await changed()
    return c.json(issued, 201)
  })
  app.openapi(revoke, async (c) => {
    await revokeKey(admin, c.req.valid('param').id)
    await changed()
    return c.body(null, 204)
  })
  app.openapi(rotate, async (c) => {
    const { grace = USUAL_GRACE_MS } = c.req.valid('json')
    const issued = await rotateKey(admin, c.req.valid('param').id, grace)
    await changed()
    return c.json({ ...issued, othersExpireAt: new Date(issued.othersExpireAt).toISOString() }, 200)
  })
}
