// The page of the library says what the package offers, and nothing else: compared both ways with what is
// checked in of its names and signatures.
import { describe, expect, it } from 'vitest'
import { SERVER_KEYS } from '../../src/engine/program-config.ts'
import { gateEvents } from '../../src/engine/program-events.ts'
import { ConfigError, createGate } from '../../src/library/library.ts'
import { bare, codesIn, readPage, tableOf } from './markdown.ts'

const page = readPage('docs/reference/library.md')
const { text: report } = readPage('api/headgate.api.md')

/** The fields of an interface, those that it has from others aside. */
function fieldsOf(name: string): string[] {
  const [, body = ''] =
    new RegExp(`interface ${name}(?: extends \\w+)? \\{\n(.*?)^\\}`, 'ms').exec(report) ?? []
  return [
    ...new Set([...body.matchAll(/^ {4}(?:readonly )?(\w+)/gm)].map(([, field = '']) => field)),
  ]
}

const documented = (head: string): string[] =>
  tableOf(page, head).rows.flatMap(([cell = '']) =>
    codesIn(cell).map((code) => code.replace(/\(.*/, '')),
  )

const sorted = (words: readonly string[]): string[] => [...words].sort()

describe('library.md', () => {
  const interfaces: [string, string[]][] = [
    ['GateOptions', fieldsOf('GateOptions')],
    ['GateAcquireOptions', [...fieldsOf('AcquireOptions'), ...fieldsOf('GateAcquireOptions')]],
    ['GatedFetchOptions', fieldsOf('GatedFetchOptions')],
    ['CloseOptions', fieldsOf('CloseOptions')],
    ['Lease', fieldsOf('Lease')],
  ]

  it.each(interfaces)('has every field of %s', (name, fields) => {
    expect(fields.length).toBeGreaterThan(0)
    expect(sorted(documented(`field of \`${name}\``))).toEqual(sorted(fields))
  })

  it('has every function and error that programs can import', () => {
    const exported = [...report.matchAll(/^export (?:abstract )?(?:class|function) (\w+)/gm)]
    const names = exported.map(([, name = '']) => name)
    const errors = tableOf(page, 'class').rows.map(([cell]) => bare(cell))
    const sections = [...page.text.matchAll(/^## (createGate|gatedFetch)$/gm)].map(
      ([, name = '']) => name,
    )
    expect(sorted([...errors, ...sections, 'HeadgateError'])).toEqual(sorted(names))
  })

  it('has every key that is refused, with its reason', async () => {
    const { rows } = tableOf(page, 'key that is refused', 'why')
    const config = Object.fromEntries(rows.map(([key]) => [bare(key), null]))
    const error = await createGate(config).catch((why: unknown) => why)
    if (!(error instanceof ConfigError)) throw error
    const shown = rows.map(
      ([key, why]) => `config: ${bare(key)}: is a key of gateways, leave it out: ${why}`,
    )
    expect(error.problems).toEqual(shown)
    expect(Object.keys(config)).toEqual(Object.keys(SERVER_KEYS))
  })

  it('has every event', () => {
    const events = tableOf(page, 'event', 'arguments').rows.map(([cell]) => bare(cell))
    expect(events).toEqual(Object.keys(gateEvents()))
  })

  it('has every method of a gate', () => {
    const called = new Set(
      [...page.text.matchAll(/`await gate\.(\w+)\(/g)].map(([, name = '']) => name),
    )
    expect(sorted([...called])).toEqual(sorted(fieldsOf('Gate')))
  })
})
