import fc from 'fast-check'
import { expect, test } from 'vitest'
import { linesOf } from './lines.ts'

async function cut(...pieces: Uint8Array[]): Promise<string[]> {
  async function* body() {
    yield* pieces
  }
  const lines: string[] = []
  for await (const line of linesOf(body())) lines.push(line)
  return lines
}

test('cuts the same lines, however the bytes come', async () => {
  const bytes = Buffer.from('{"a":"Grüße"}\n\n{"b":"世界"}\nlast')
  const whole = ['{"a":"Grüße"}', '', '{"b":"世界"}', 'last']
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 20 }), async (cuts) => {
      const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length]
      const pieces = edges.slice(1).map((end, i) => bytes.subarray(edges[i], end))
      expect(await cut(...pieces)).toEqual(whole)
    }),
  )
})

test('has no line after the last end', async () => {
  expect(await cut(Buffer.from('a\nb\n'))).toEqual(['a', 'b'])
  expect(await cut()).toEqual([])
})

test('does not keep a line without end', async () => {
  const megabytes = Array.from({ length: 65 }, () => Buffer.alloc(1024 * 1024, 'x'))
  expect(await cut(...megabytes, Buffer.from('\nnext'))).toEqual(['', 'next'])
})
