import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  NOT_JSON,
  readCount,
  readString,
  skipValue,
  walkElements,
  walkMembers,
} from './json-scan.ts'

const bytesOf = (text: string): Buffer => Buffer.from(text)

/** JSON text with the given indentation: whitespace is part of the grammar. */
const jsonText = fc
  .tuple(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 1, '\t'))
  .map(([value, indent]) => JSON.stringify(value, null, indent))

test('finds the end of any value, whatever follows', () => {
  fc.assert(
    fc.property(jsonText, fc.constantFrom('', ' ', ',1', '}', ']'), (text, rest) => {
      const bytes = bytesOf(text + rest)
      expect(skipValue(bytes, 0)).toBe(Buffer.byteLength(text))
    }),
  )
})

test('finds the end of strings made of quotes and backslashes', () => {
  const nasty = fc.string({ unit: fc.constantFrom('"', '\\', 'a', '\n', 'é'), maxLength: 200 })
  fc.assert(
    fc.property(nasty, (text) => {
      const json = JSON.stringify(text)
      const bytes = bytesOf(`${json},"next"`)
      const end = skipValue(bytes, 0)
      expect(end).toBe(Buffer.byteLength(json))
      expect(readString(bytes, { start: 0, end })).toBe(text)
    }),
  )
})

test('tells of every member and element, as a parser sees them', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (object) => {
      const bytes = bytesOf(JSON.stringify(object))
      const seen = new Map<string, unknown>()
      const end = walkMembers(bytes, 0, Object.keys(object), (key, valueAt) => {
        const valueEnd = skipValue(bytes, valueAt)
        if (key !== null) seen.set(key, JSON.parse(bytes.toString('utf8', valueAt, valueEnd)))
        return valueEnd
      })
      expect(end).toBe(bytes.length)
      for (const [key, value] of seen)
        expect(value).toEqual(JSON.parse(JSON.stringify(object[key])))
    }),
  )
  const ends: number[] = []
  expect(walkElements(bytesOf('[1, [2], "3"]'), 0, (end) => ends.push(end))).toBe(13)
  expect(ends).toEqual([2, 7, 12])
})

test('knows a key in spite of its escapes', () => {
  const keys: (string | null)[] = []
  const bytes = bytesOf('{"\\u006dodel":1,"m\\u006f":2,"model":3}')
  walkMembers(bytes, 0, ['model'], (key, valueAt) => {
    keys.push(key)
    return skipValue(bytes, valueAt)
  })
  expect(keys).toEqual(['model', null, 'model'])
})

test.each(['', '"', '"a\\"', '{', '{"a"', '{"a":', '{"a":1', '[1', '[1,', '}', ',', '\\'])(
  'says of %j that it is not JSON',
  (text) => {
    expect(skipValue(bytesOf(text), 0)).toBe(NOT_JSON)
  },
)

test('does not recurse into brackets', () => {
  const depth = 1_000_000
  const bytes = bytesOf('['.repeat(depth) + ']'.repeat(depth))
  expect(skipValue(bytes, 0)).toBe(2 * depth)
  expect(skipValue(bytes.subarray(0, depth), 0)).toBe(NOT_JSON)
})

test('reads as a count what is a number of things, in whatever form, rounded up', () => {
  const read = (text: string) => readCount(bytesOf(text), { start: 0, end: text.length })
  expect(['0', '128000', '-1', '1.5', '1e3', '"7"', 'null', '9'.repeat(16)].map(read)).toEqual([
    0,
    128000,
    null,
    2,
    1000,
    null,
    null,
    null,
  ])
})
