// The build that makes typed calls of Lua files, on small files of its own.
import { spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type CostVector, costOf } from '../../src/core/cost.ts'
import { Program } from '../../src/stores/redis/program.ts'
import { doubles, type Script } from '../../src/stores/redis/script.ts'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'
import { withTestClock } from '../servers/test-clock.ts'

const ROOT = path.join(import.meta.dirname, '../..')

interface TakeArgs {
  readonly resource: string
  readonly atLeast: number
  readonly estimate: CostVector
  readonly isEarly: boolean
  readonly id: string
}

/** A lib that needs another, and an operation that needs both. */
const FILES = {
  'lib/clock.lua': `-- What time it is.
local function server_now()
  -- in milliseconds
  return redis.call('TIME')[1] * 1000
end
`,
  'lib/gate.lua': `-- The gate.
-- @include clock
-- @key state the gate
-- @arg resource text whose gate
-- @arg at_least number tokens
local gate = {}

function gate.now() return server_now() end
`,
  'take.lua': `-- Takes what
-- it can.
-- @include gate
-- @include clock
-- @key records tickets
-- @key state the gate
-- @arg estimate cost what it may take,
--   at most
-- @arg is_early flag whether it is
-- @arg id string the ticket
-- @answer what it was given

-- nobody needs this
local spelt = 'a\\\\b\`\${'
return {
  arg.resource, string.format('%.17g', arg.at_least), arg.is_early and 'early' or 'late', arg.id,
  arg.estimate.requests, arg.estimate.input_tokens, arg.estimate.output_tokens,
  arg.estimate.tokens, arg.estimate.cost, key.state, key.records, spelt, gate.now(),
}
`,
}

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-lua-'))
  await mkdir(path.join(folder, 'scripts/lib'), { recursive: true })
  await cp(path.join(ROOT, 'src/stores/redis/script.ts'), path.join(folder, 'script.ts'))
  for (const [name, text] of Object.entries(FILES)) await write(name, text)
})
afterEach(() => rm(folder, { recursive: true }))

const MODULE = 'scripts.generated.ts'

function write(name: string, text: string): Promise<void> {
  return writeFile(path.join(folder, 'scripts', name), text)
}

function build(...flags: string[]): { status: number | null; stderr: string } {
  const args = [path.join(ROOT, 'scripts/build-lua.mjs'), ...flags, 'scripts', MODULE]
  return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
}

function built(): Promise<string> {
  return readFile(path.join(folder, MODULE), 'utf8')
}

async function takeScript(): Promise<Script<TakeArgs>> {
  expect(build()).toMatchObject({ status: 0, stderr: '' })
  const module: { allScripts: { take: Script<TakeArgs> } } = await import(path.join(folder, MODULE))
  return module.allScripts.take
}

const TAKE: TakeArgs = {
  resource: 'anthropic',
  atLeast: 0.1,
  estimate: costOf({
    requests: 1,
    input_tokens: 20,
    output_tokens: 300,
    tokens: 320,
    cost: 2 ** 52,
  }),
  isEarly: true,
  id: 't1',
}

it('includes each file once, before those that need it, without comments', async () => {
  const { libs } = await takeScript()
  expect(libs).toMatch(
    /^-- lib\/clock\nlocal function server_now\(\)\n {2}return .*\nend\n-- end lib\/clock\n-- lib\/gate\nlocal gate = \{\}\nfunction .*\n-- end lib\/gate\n$/,
  )
})

it('sends keys and texts in the order of includes and operation, then all numbers at once', async () => {
  const { keys, args } = await takeScript()
  expect(keys).toEqual(['state', 'records'])
  const numbers = [0.1, 1, 20, 300, 320, 2 ** 52, 1]
  expect(args(TAKE)).toEqual(['anthropic', 't1', doubles(numbers)])
})

it('documents the call by the comments', async () => {
  build()
  expect(await built()).toContain(`/**
 * Takes what it can.
 *
 * Answer: what it was given
 */
const take: Script<TakeArgs> = {`)
  expect(await built()).toContain(
    '  /** what it may take, at most */\n  readonly estimate: CostVector\n',
  )
})

it('a server runs it as a script and as a function, and reads the arguments back', async () => {
  const scripts = withTestClock({ take: await takeScript() })
  const { take } = scripts
  const program = new Program(scripts)
  const plain = program.plain(take)
  const prefix = freshPrefix()
  await using client = await clientOfShared()
  await client.set(`${prefix}{r}clock`, '1234567890123')
  const keys = take.keys.map((name) => `${prefix}{r}${name}`)
  expect(await client.script('LOAD', plain.lua)).toBe(plain.sha)
  expect(await client.call('function', 'load', 'replace', program.library())).toBe(program.name)
  const run = async (args: TakeArgs): Promise<unknown> => {
    const operands = [String(keys.length), ...keys, ...take.args(args)]
    const answer = await client.call('evalsha', plain.sha, ...operands)
    expect(await client.call('fcall', program.functionOf(take), ...operands)).toEqual(answer)
    return answer
  }
  const rest = [1, 20, 300, 320, 2 ** 52, ...keys, 'a\\b`${', 1234567890123]
  expect(await run(TAKE)).toEqual(['anthropic', '0.10000000000000001', 'early', 't1', ...rest])
  const late = { ...TAKE, atLeast: Number.NEGATIVE_INFINITY, isEarly: false }
  expect(await run(late)).toEqual(['anthropic', '-inf', 'late', 't1', ...rest])
})

async function clientOfShared(): Promise<Redis & AsyncDisposable> {
  const client = new Redis((await sharedRedis()).url)
  return Object.assign(client, { [Symbol.asyncDispose]: async () => client.disconnect() })
}

it('a check passes on what was built, and fails when the Lua has changed since', async () => {
  expect(build('--check')).toMatchObject({
    status: 1,
    stderr: 'scripts.generated.ts is not what its Lua makes: run "npm run build:lua"\n',
  })
  build()
  const before = await built()
  expect(build('--check')).toMatchObject({ status: 0, stderr: '' })
  await write('lib/clock.lua', FILES['lib/clock.lua'].replace('1000', '1e3'))
  expect(build('--check').status).toBe(1)
  expect(await built()).toBe(before)
})

const mistakes = {
  'an unknown word': {
    file: 'lib/gate.lua',
    text: '-- The gate.\n-- @agr id string',
    says: 'scripts/lib/gate.lua:2: "@agr" is none of @include, @key, @arg, @answer, @module',
  },
  'an unknown kind': {
    file: 'take.lua',
    text: '-- Takes.\n--\n-- @arg id strnig whose',
    says: 'scripts/take.lua:3: "id" is of no known kind: one of string, text, number, flag, cost stands behind its name',
  },
  'a name that Lua could not have': {
    file: 'take.lua',
    text: '-- Takes.\n-- @arg atLeast number',
    says: 'scripts/take.lua:2: "@arg" takes a name in snake_case and a kind',
  },
  'a file that is not there': {
    file: 'take.lua',
    text: '-- Takes.\n-- @include gaet',
    says: 'scripts/take.lua:2: there is no lib/gaet.lua',
  },
  'includes in a circle': {
    file: 'lib/clock.lua',
    text: '-- The clock.\n-- @include gate',
    says: 'scripts/lib/clock.lua:2: includes go in a circle: gate > clock > gate',
  },
  'one argument twice': {
    file: 'take.lua',
    text: '-- Takes.\n-- @include gate\n-- @arg resource text',
    says: 'scripts/take.lua:3: there is an argument "resource" already, from gate.lua:4',
  },
  'a word below the header': {
    file: 'take.lua',
    text: '-- Takes.\n\n-- @arg id string',
    says: 'scripts/take.lua:3: "@arg" stands below the first comment',
  },
  'no summary': {
    file: 'take.lua',
    text: 'return 1',
    says: 'scripts/take.lua:1: a script begins with a comment that says what it does',
  },
}

it.each(Object.entries(mistakes))('%s is said with its file and line', async (_, mistake) => {
  await write(mistake.file, mistake.text)
  expect(build()).toMatchObject({ status: 1, stderr: `${mistake.says}\n` })
})
