import { expect, it } from 'vitest'
import { settingsFrom } from '../policy/resolve.ts'
import { PolicyInForce } from './policy-in-force.ts'

const settings = (resources: object) => settingsFrom({ resources, ledger: 'off' }, {})
const amountsOf = (policy: PolicyInForce, resource: string) =>
  policy.gateSettings(resource).limits.map(({ amount }) => amount)

it('keeps the limits of a resource that the file names no more, for those who still stand there', () => {
  const policy = new PolicyInForce(
    settings({ one: { concurrency: 1 }, two: { concurrency: 2 } }),
    null,
  )
  policy.replaceSettings(settings({ two: { concurrency: 3 } }))
  expect([amountsOf(policy, 'one'), amountsOf(policy, 'two')]).toEqual([[1], [3]])
  expect(policy.settings.resources.has('one')).toBe(false)
  policy.replaceSettings(settings({ one: { concurrency: 7 } }))
  expect([amountsOf(policy, 'one'), amountsOf(policy, 'two')]).toEqual([[7], [3]])
})
