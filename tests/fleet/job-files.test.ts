// Which files a job takes for its own, and what it leaves of those that are not.
import { once } from 'node:events'
import {
  appendFile,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { FileJob, failing } from './file-job.ts'

const root = await FileJob.root('job-files')
afterAll(() => rm(root, { recursive: true }))

/** What is in a job's folder, by name. A lock that was taken is another one, and the same for whoever asks. */
async function contents(folder: string): Promise<Record<string, string>> {
  const names = await readdir(folder)
  const texts = names.toSorted().map(async (name) => {
    const file = path.join(folder, name)
    const text = (await stat(file)).isFile() ? await readFile(file, 'latin1') : ''
    return [name, text.startsWith('SQLite') ? 'a lock' : text]
  })
  return Object.fromEntries(await Promise.all(texts))
}

/** It is refused with one line, and nothing is there that was not, or is not as it was. */
async function expectRefused(job: FileJob, output: string, why: RegExp): Promise<void> {
  const before = await contents(job.folder)
  const { problems } = await job.problemOf(output)
  expect(problems).toEqual([expect.stringMatching(why)])
  expect(problems[0]).not.toContain('\n')
  expect(await contents(job.folder)).toEqual(before)
}

describe('the names of files', () => {
  it('are shared by no two outputs', async () => {
    const job = await FileJob.create(root, 2)
    await using one = await job.open('r')
    await using other = await job.open('r.jsonl')
    const names = [one, other].flatMap(({ paths }) => Object.values(paths))
    expect(new Set(names).size).toBe(8)
    expect(other.paths.failures).toBe(job.file('r.failures.jsonl'))
  })

  it.each(['r.failures.jsonl', 'r.failures', 'r.jsonl.journal', 'r.jsonl.lock'])(
    'are not taken for an output: %s',
    async (name) => {
      const job = await FileJob.create(root, 1)
      await expectRefused(job, name, /ends like what a job writes beside its answers/)
    },
  )

  it('lead to one job through a link, also before there is an output', async () => {
    const job = await FileJob.create(root, 2)
    const elsewhere = await FileJob.create(root, 1)
    await symlink(elsewhere.file('real.jsonl'), job.file('link.jsonl'))
    await symlink('link.jsonl', job.file('again.jsonl'))
    {
      await using first = await job.open('again.jsonl')
      expect(first.paths.journal).toBe(elsewhere.file('real.jsonl.journal'))
      const same = await job.problemOf(elsewhere.file('real.jsonl'))
      expect(same.message).toContain('another run')
      expect((await job.problemOf('link.jsonl')).message).toContain('another run')
    }
    await job.run('link.jsonl')
    expect(await elsewhere.idsIn('real.jsonl')).toEqual(['p0', 'p1'])
    expect((await readdir(job.folder)).toSorted()).toEqual([
      'again.jsonl',
      'link.jsonl',
      'prompts.jsonl',
    ])
    await using last = await job.open(elsewhere.file('real.jsonl'))
    expect(last.doneBefore).toBe(2)
  })
})

describe('what is no file', () => {
  it('is refused as an output', async () => {
    const job = await FileJob.create(root, 1)
    await mkdir(job.file('folder'))
    await expectRefused(job, '/dev/null', /^\/dev\/null: is not a file/)
    await expectRefused(job, '/sys/r', /^\/sys\/r(\.lock)?: cannot be written: [a-z -]+$/)
    await expectRefused(job, 'folder', /folder: is a folder: name a file$/)
    await expectRefused(job, `${job.file('new')}/`, /new\/: is no name of a file/)
    await expectRefused(job, 'none/r.jsonl', /none\/r\.jsonl: cannot be written: there is no such/)
    await expectRefused(job, 'prompts.jsonl/r', /r: cannot be written: what should be a folder/)
    await expectRefused(job, 'n'.repeat(250), /cannot be written: the name is too long$/)
    const { message } = await job.problemOf('')
    expect(message).toMatch(/is a folder|is no name of a file/)
  })

  it('is refused where a link leads in a circle', async () => {
    const job = await FileJob.create(root, 1)
    await symlink('b.jsonl', job.file('a.jsonl'))
    await symlink('a.jsonl', job.file('b.jsonl'))
    const { problems } = await job.problemOf('a.jsonl')
    expect(problems).toEqual([`${job.file('a.jsonl')}: cannot be written: its links lead nowhere`])
  })

  it.each(['r.jsonl.journal', 'r.failures.jsonl', 'r.jsonl.lock'])(
    'is refused beside an output: %s',
    async (name) => {
      const job = await FileJob.create(root, 1)
      await mkdir(job.file(name))
      await expectRefused(job, 'r.jsonl', /: is a folder: name a file$/)
      await rm(job.file(name), { recursive: true })
      const server = net.createServer().listen(job.file(name))
      await once(server, 'listening')
      await expectRefused(job, 'r.jsonl', /: is not a file: answers cannot be kept in it$/)
      server.close()
    },
  )
})

describe('files of something else', () => {
  it.each([
    ['r.jsonl.journal', 'precious'],
    ['r.jsonl.journal', '{"kind":"precious'],
    ['r.jsonl.journal', '{"kind":"precious"}\n'],
    ['r.jsonl.journal', 'precious\nlines\n'],
    ['r.jsonl.lock', 'precious, and long enough to be looked at by whoever holds locks'],
    ['r.jsonl', 'precious'],
    ['r.failures.jsonl', 'precious'],
  ])('are left as they are: %s with %j', async (name, content) => {
    const job = await FileJob.create(root, 1)
    await writeFile(job.file(name), content)
    await expectRefused(job, 'r.jsonl', /is not of this job|is there already|is no lock of a job/)
  })

  it.each(['r.jsonl', 'r.failures.jsonl'])(
    'are left as they are where a job is begun: %s',
    async (name) => {
      const job = await FileJob.create(root, 2)
      await job.run('r.jsonl')
      await appendFile(job.file('r.jsonl.journal'), '{"kind":"sta')
      await writeFile(job.file(name), 'precious')
      await expectRefused(job, 'r.jsonl', /:1: is not of this job/)
    },
  )

  it('are refused: a journal that tells of prompts that nobody has', async () => {
    const job = await FileJob.create(root, 1)
    await job.run('r.jsonl')
    await appendFile(job.file('r.jsonl.journal'), '{"kind":"unsent","id":"x","cost_nano_usd":0}\n')
    await expectRefused(job, 'r.jsonl', /journal:4: is not of this job/)
  })

  it('are refused: a failure with the id of another line', async () => {
    const job = await FileJob.create(root, 2)
    await job.run('r.jsonl', {}, failing)
    const text = await readFile(job.file('r.failures.jsonl'), 'utf8')
    await writeFile(job.file('r.failures.jsonl'), text.replace('"line":1', '"line":2'))
    await expectRefused(job, 'r.jsonl', /r\.failures\.jsonl:1: is not of this job/)
  })
})

describe('a job that was killed when its journal was made', () => {
  it('goes on, however little of it was written', async () => {
    const whole = await FileJob.create(root, 2)
    await whole.run('r.jsonl')
    const journal = await readFile(whole.file('r.jsonl.journal'))
    const header = journal.indexOf('\n') + 1
    for (const length of [0, 1, 9, 40, header - 2, header - 1, header]) {
      const job = await whole.copy(root)
      await truncate(job.file('r.jsonl.journal'), length)
      for (const name of ['r.jsonl', 'r.failures.jsonl']) await rm(job.file(name))
      await job.run('r.jsonl')
      expect(await job.idsIn('r.jsonl')).toEqual(['p0', 'p1'])
      const [first] = (await readFile(job.file('r.jsonl.journal'), 'utf8')).split('\n')
      expect(JSON.parse(first ?? '')).toMatchObject({ kind: 'job' })
    }
  })
})

describe('the lock', () => {
  it('stays where a job is, although it is refused for once', async () => {
    const job = await FileJob.create(root, 1)
    await job.run('r.jsonl')
    await appendFile(job.file('r.jsonl'), '{"id":"nobody"}\n')
    await expectRefused(job, 'r.jsonl', /r\.jsonl:2: is not of this job/)
    expect(await readdir(job.folder)).toContain('r.jsonl.lock')
  })
})
