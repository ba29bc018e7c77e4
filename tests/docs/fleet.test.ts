// The page of the fleet says what the package offers, and nothing else: compared both ways with what is checked
// in of its names and signatures.
import { describe, expect, it } from 'vitest'
import { bare, codesIn, readPage, tableOf } from './markdown.ts'

const page = readPage('docs/reference/fleet.md')
const { text: report } = readPage('api/headgate-fleet.api.md')

const fieldsOf = (name: string): string[] => {
  const [, body = ''] = new RegExp(`interface ${name} \\{\n(.*?)^\\}`, 'ms').exec(report) ?? []
  return [...body.matchAll(/^ {4}readonly (\w+)/gm)].map(([, field = '']) => field)
}

const firstCells = (...head: string[]): string[] =>
  tableOf(page, ...head).rows.map(([cell]) => bare(cell))

const sorted = (words: readonly string[]): string[] => [...words].sort()

describe('fleet.md', () => {
  it.each(['FleetOptions', 'DispatchOptions'])('has every field of %s', (name) => {
    const fields = fieldsOf(name)
    expect(fields.length).toBeGreaterThan(0)
    expect(sorted(firstCells(`field of \`${name}\``))).toEqual(sorted(fields))
  })

  it('has every kind of result, with what it has', () => {
    const kinds = ['Answered', 'Failed', 'BudgetExceeded', 'QuotaExhausted'].map((name) => {
      const [, body = ''] =
        new RegExp(`interface ${name}[^{]*\\{\n(.*?)^\\}`, 'ms').exec(report) ?? []
      return /kind: '(\w+)'/.exec(body)?.[1] ?? ''
    })
    expect(sorted(firstCells('`kind`', 'when', 'besides'))).toEqual(sorted(kinds))
  })

  it.each([
    ['FleetEvent', '`kind`'],
    ['BatchEvent', '`kind`, of a batch'],
  ])('has every %s, with what it tells', (name, head) => {
    const [, body = ''] = new RegExp(`type ${name} =\\s(.*?)\\};\n`, 's').exec(report) ?? []
    const events = body.split(/readonly kind: /).slice(1)
    const written = events.map((event) => {
      const [kind = ''] = /\w+/.exec(event) ?? []
      const fields = [...event.matchAll(/readonly (\w+):/g)].map(([, field = '']) => field)
      return [kind, ...fields]
    })
    const values = new Set(['money', 'pace', 'provider', 'retries', 'null'])
    const told = tableOf(page, head, 'besides', 'when').rows.map(([kind = '', besides = '']) => [
      bare(kind),
      ...codesIn(besides).filter((code) => !values.has(code)),
    ])
    expect(told).toEqual(written)
  })
})
