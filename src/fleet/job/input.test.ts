import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Input, type InputLine } from './input.ts'
import { JobError } from './problem.ts'

const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-input-'))
afterAll(() => rm(folder, { recursive: true }))

const ASKED = {
  model: 'claude-haiku-4-5',
  max_tokens: 5,
  messages: [{ role: 'user', content: 'Grüße' }],
}

let files = 0

async function written(content: string | Uint8Array): Promise<string> {
  const file = path.join(folder, `prompts-${++files}.jsonl`)
  await writeFile(file, content)
  return file
}

async function open(content: string | Uint8Array, { skipsBad = false } = {}): Promise<Input> {
  return await Input.open(await written(content), { skipsBad })
}

async function linesOf(input: Input, isWanted = (_: number) => true): Promise<InputLine[]> {
  const lines: InputLine[] = []
  for await (const line of input.read(isWanted)) lines.push(line)
  return lines
}

async function idsOf(input: Input): Promise<(string | null)[]> {
  return (await linesOf(input)).map((line) => (line.kind === 'prompt' ? line.payload.id : null))
}

/** What is wrong with the file, without its name. */
async function problemsOf(content: string | Uint8Array): Promise<string[]> {
  const file = await written(content)
  try {
    await using _ = await Input.open(file, { skipsBad: false })
    return []
  } catch (error) {
    if (!(error instanceof JobError)) throw error
    expect(error.kind).toBe('input')
    return error.problems.map((problem) => problem.replace(`${file}:`, '').trim())
  }
}

const jsonl = (...lines: readonly unknown[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join('')

describe('prompts', () => {
  it('are read in each form, and named by their ids or their lines', async () => {
    await using input = await open(
      jsonl(
        { id: 'plain', ...ASKED },
        { id: 'wrapped', params: ASKED },
        { custom_id: 'batch', params: { ...ASKED, stream: true } },
        ASKED,
        { params: ASKED },
        { id: 17, ...ASKED },
      ),
    )
    const lines = await linesOf(input)
    expect(lines.map((line) => line.kind === 'prompt' && line.payload)).toEqual(
      ['plain', 'wrapped', 'batch', '4', '5', '17'].map((id) => ({ id, params: ASKED })),
    )
    expect(input.lineOf('batch')).toBe(3)
    expect(input.lineOf('nobody')).toBeUndefined()
  })

  it('stand on lines with any ends, blank ones between them, and after a byte order mark', async () => {
    const line = JSON.stringify(ASKED)
    await using input = await open(`\ufeff${line}\r\n\r\n \t\n${line}\n\n${line}`)
    expect(await idsOf(input)).toEqual(['1', '4', '6'])
    expect(input).toMatchObject({ count: 3, lineCount: 6 })
  })

  it('may be larger than what is read at once', async () => {
    const long = { ...ASKED, messages: [{ role: 'user', content: 'é'.repeat(1_500_000) }] }
    await using input = await open(jsonl({ id: 'a', ...long }, { id: 'b', ...long }, ASKED))
    const [a, b, c] = await linesOf(input)
    expect([a, b]).toMatchObject([{ payload: { params: long } }, { payload: { params: long } }])
    expect(c).toMatchObject({ payload: { id: '3', params: ASKED } })
  })

  it('are left out where they are not wanted', async () => {
    await using input = await open(jsonl(ASKED, ASKED, ASKED))
    expect(await linesOf(input, (line) => line === 2)).toMatchObject([{ payload: { id: '2' } }])
  })
})

describe('what is wrong', () => {
  it('is told line by line', async () => {
    const { model: _, ...modelless } = ASKED
    const { max_tokens: __, ...endless } = ASKED
    const lines = [
      '{"model": ',
      '[1]',
      JSON.stringify(modelless),
      JSON.stringify(endless),
      JSON.stringify({ ...ASKED, messages: [] }),
      JSON.stringify({ id: 'twice', ...ASKED }),
      JSON.stringify({ custom_id: 'twice', params: ASKED }),
      JSON.stringify({ id: '6', ...ASKED }),
      JSON.stringify({ id: '10', ...ASKED }),
      JSON.stringify(ASKED),
      JSON.stringify({ id: ['x'], ...ASKED }),
      JSON.stringify({ id: 'x', params: 3 }),
      JSON.stringify({ ...ASKED, max_tokens: '5' }),
    ]
    expect(await problemsOf(`${lines.join('\n')}\n`)).toEqual([
      '1: is not JSON',
      '2: is not an object',
      '3: has no model',
      '4: has no max_tokens',
      '5: has no messages',
      '7: has the id "twice" of line 6',
      '10: has the id "10" of line 9',
      '11: has no proper id: write a text of 1 to 1000 characters',
      '12: has params that are no object',
      '13: has a max_tokens that is no whole number from 0',
    ])
  })

  it('is a text that is not UTF-8: it would be sent as another', async () => {
    expect(await problemsOf(Buffer.from([0x22, 0xff, 0x22, 0x0a]))).toEqual(['1: is not UTF-8'])
  })

  it('is nested too deeply to be written again', async () => {
    const deep = `${'['.repeat(9000)}${']'.repeat(9000)}`
    const line = `{"id":"deep","model":"m","max_tokens":5,"messages":[{"role":"user","content":${deep}}]}`
    expect(await problemsOf(`${line}\n`)).toEqual([expect.stringContaining('nested too deeply')])
  })

  it('is told twenty times, and then counted', async () => {
    const problems = await problemsOf('x\n'.repeat(1000))
    expect(problems).toHaveLength(21)
    expect(problems.at(-1)).toBe('and 980 more such lines')
  })

  it('is an empty file, or none', async () => {
    expect(await problemsOf('')).toEqual(['has no prompts in it'])
    expect(await problemsOf('\n\n')).toEqual(['has no prompts in it'])
    const missing = path.join(folder, 'missing.jsonl')
    await expect(Input.open(missing, { skipsBad: false })).rejects.toThrow(
      `${missing}: cannot be read: there is no such file or folder`,
    )
  })

  it('is what is no file', async () => {
    const problem = (file: string) => expect(Input.open(file, { skipsBad: false })).rejects
    await problem(folder).toThrow(`${folder}: is a folder: name a file of prompts`)
    await problem('/dev/null').toThrow('/dev/null: is not a file: write the prompts into one')
  })

  it.skipIf(process.platform !== 'linux')('is a file that its device does not read', async () => {
    const opening = Input.open('/proc/self/mem', { skipsBad: false })
    await expect(opening).rejects.toMatchObject({
      kind: 'run',
      problems: ['/proc/self/mem: cannot be read: the device has failed'],
    })
  })

  it('is let through as such where that was asked for', async () => {
    const content = jsonl({ id: 'a', ...ASKED }, { id: 'a', ...ASKED }, { id: 'b' })
    await using input = await open(content, { skipsBad: true })
    expect(input.count).toBe(3)
    expect((await linesOf(input)).slice(1)).toEqual([
      { kind: 'bad', line: 2, id: 'a', why: 'has the id "a" of line 1' },
      { kind: 'bad', line: 3, id: 'b', why: 'has no model, has no max_tokens, has no messages' },
    ])
  })

  it('is a file that is changed while it is read', async () => {
    const file = await written(jsonl({ id: 'a', ...ASKED }, { id: 'b', ...ASKED }))
    await using input = await Input.open(file, { skipsBad: false })
    await writeFile(file, jsonl({ id: 'a', ...ASKED }, { id: 'c', ...ASKED }))
    await expect(linesOf(input)).rejects.toThrow('has been changed while it was run')
  })
})
