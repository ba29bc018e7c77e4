import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { findLines } from './found-lines.ts'
import { KeptLines } from './kept-lines.ts'

const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-lines-'))
afterAll(() => rm(folder, { recursive: true }))

const file = path.join(folder, 'kept.jsonl')

async function open(found: string[] = []): Promise<KeptLines> {
  const lines = await findLines({
    path: file,
    beginning: () => '{"id":',
    onLine: (bytes) => found.push(bytes.toString()),
  })
  return await KeptLines.open(lines)
}

/** The lines that are found in a file, and what it has after one more was written. */
async function reopened(content: string): Promise<{ found: string[]; after: string }> {
  await writeFile(file, content)
  const found: string[] = []
  const kept = await open(found)
  await kept.write('{"id":3}\n')
  await kept.close()
  return { found, after: await readFile(file, 'utf8') }
}

describe('a file of lines', () => {
  it('keeps a whole record whose line has lost its end', async () => {
    expect(await reopened('{"id":1}\n{"id":2}')).toEqual({
      found: ['{"id":1}', '{"id":2}'],
      after: '{"id":1}\n{"id":2}\n{"id":3}\n',
    })
  })

  it('loses what was written of one, and what a power cut leaves', async () => {
    for (const torn of ['{"id":2', '{"id":', '{', '\0\0\0', ' '])
      expect(await reopened(`{"id":1}\n${torn}`)).toEqual({
        found: ['{"id":1}'],
        after: '{"id":1}\n{"id":3}\n',
      })
  })

  it('is refused, and stays as it is, where its end is of something else', async () => {
    for (const content of ['precious', '{"name":"precious', '{"id":1}\nprecious', '2']) {
      await writeFile(file, content)
      await expect(open()).rejects.toThrow(/kept\.jsonl:[12]: is not of this job/)
      expect(await readFile(file, 'utf8')).toBe(content)
    }
  })

  it('says so when somebody removes it while it is written', async () => {
    await rm(file)
    const kept = await open()
    await kept.write('{"id":1}\n')
    await kept.sync()
    await rm(file)
    await kept.write('{"id":2}\n')
    await expect(kept.sync()).rejects.toThrow('was removed while it was written')
    await kept.close()
  })

  it('waits for all that is being written before it is closed', async () => {
    await writeFile(file, '')
    const kept = await open()
    const lines = ['{"id":1}\n', '{"id":2}\n', '{"id":3}\n']
    const written = Promise.all(lines.map((line) => kept.write(line)))
    await kept.close()
    await written
    expect(await readFile(file, 'utf8')).toBe(lines.join(''))
  })
})
