import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { KeptLines } from './kept-lines.ts'

const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-lines-'))
afterAll(() => rm(folder, { recursive: true }))

const file = path.join(folder, 'kept.jsonl')

/** The lines that are found in a file, and what it has after one more was written. */
async function reopened(content: string): Promise<{ found: string[]; after: string }> {
  await writeFile(file, content)
  const found: string[] = []
  const kept = await KeptLines.open(file, (bytes) => found.push(bytes.toString()))
  await kept.write('{"id":3}\n')
  await kept.close()
  return { found, after: await readFile(file, 'utf8') }
}

it('keeps a whole record whose line has lost its end', async () => {
  expect(await reopened('{"id":1}\n{"id":2}')).toEqual({
    found: ['{"id":1}', '{"id":2}'],
    after: '{"id":1}\n{"id":2}\n{"id":3}\n',
  })
})

it('cuts off what was written of one', async () => {
  for (const torn of ['{"id":2', '{"id":', '"', '2'])
    expect(await reopened(`{"id":1}\n${torn}`)).toEqual({
      found: ['{"id":1}'],
      after: '{"id":1}\n{"id":3}\n',
    })
})
