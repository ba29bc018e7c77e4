// headgate keys and headgate budgets, on a ledger in a real file.
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Command, CommanderError } from 'commander'
import { describe, expect, it } from 'vitest'
import { openLedger } from '../../src/backends/open-ledger.ts'
import { addBudgetsCommand } from '../../src/cli/budgets.ts'
import { EXIT, type ExitCode } from '../../src/cli/exit-codes.ts'
import { addKeysCommand } from '../../src/cli/keys.ts'
import { fakeIo } from './fake-io.ts'

/** The ledger that the file names counts. */
const THE_FILES_OWN = { HEADGATE_LEDGER: '' }

const CONFIG = `
ledger: sqlite:./ledger.db
tiers:
  pro: { budget: 20 USD/month }
users: { alice: { tier: pro } }
keys: [{ id: fixed, sha256: "${'0'.repeat(64)}", user: alice }]
`

async function openFolder(config = CONFIG) {
  const folder = await mkdtemp(path.join(tmpdir(), 'headgate-cli-'))
  await writeFile(path.join(folder, 'headgate.yaml'), config)
  return {
    folder,
    async run(...argv: string[]) {
      const io = fakeIo({ env: THE_FILES_OWN, folder })
      let exitCode: ExitCode = EXIT.ok
      const program = new Command('headgate').exitOverride().configureOutput({
        writeOut: (text) => io.stdout.write(text),
        writeErr: (text) => io.stderr.write(text),
      })
      const end = (code: ExitCode): void => {
        exitCode = code
      }
      addKeysCommand(program, io, end)
      addBudgetsCommand(program, io, end)
      try {
        await program.parseAsync(argv, { from: 'user' })
      } catch (error) {
        if (!(error instanceof CommanderError)) throw error
        exitCode = EXIT.usage
      }
      return { exitCode, out: io.out(), err: io.err() }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

describe('headgate keys', () => {
  it('prints a new secret alone, and never again', async () => {
    await using here = await openFolder()
    const made = await here.run('keys', 'create', 'ci', '--user', 'bob', '--expires-in', '90d')
    expect(made).toEqual({
      exitCode: 0,
      out: expect.stringMatching(/^hgk_[\w-]{43}\n$/),
      err: 'keep it: it is not shown again\n',
    })
    const { out } = await here.run('keys', 'list')
    expect(out).not.toContain(made.out.trim())
    const [head, fixed, issued] = out.split('\n').map((line) => line.split(/ {2,}/))
    expect(head).toEqual(['KEY', 'USER', 'TEAM', 'TIER', 'SCOPES', 'STATE', 'ORIGIN', 'EXPIRES'])
    expect(fixed).toEqual([
      'fixed',
      'alice',
      '-',
      '-',
      'requests,leases',
      'active',
      'configured',
      'never',
    ])
    expect(issued?.slice(0, 7)).toEqual([
      'ci',
      'bob',
      '-',
      '-',
      'requests,leases',
      'active',
      'issued',
    ])
  })

  it('rotates and revokes', async () => {
    await using here = await openFolder()
    await here.run('keys', 'create', 'ci')
    const rotated = await here.run('keys', 'rotate', 'ci', '--grace', '1h', '--json')
    expect(JSON.parse(rotated.out)).toEqual({
      id: 'ci',
      secret: expect.stringMatching(/^hgk_/),
      othersExpireAt: expect.stringMatching(/Z$/),
    })
    expect(await here.run('keys', 'revoke', 'ci')).toEqual({
      exitCode: 0,
      out: '',
      err: 'ci is revoked\n',
    })
    const { keys } = JSON.parse((await here.run('keys', 'list', '--json')).out)
    expect(keys[1]).toMatchObject({ id: 'ci', state: 'revoked' })
  })

  it('gives a key what it opens, and keeps that when it is rotated', async () => {
    await using here = await openFolder()
    await here.run('keys', 'create', 'worker', '--scopes', 'leases')
    await here.run('keys', 'create', 'chief', '--scopes', 'leases:all,requests')
    await here.run('keys', 'rotate', 'worker')
    const { keys } = JSON.parse((await here.run('keys', 'list', '--json')).out)
    expect(keys).toMatchObject([
      { id: 'fixed', scopes: ['requests', 'leases'] },
      { id: 'worker', scopes: ['leases'], secrets: 2 },
      { id: 'chief', scopes: ['requests', 'leases', 'leases:all'] },
    ])
  })

  it('says in one line what is wrong', async () => {
    await using here = await openFolder()
    const failure = async (...argv: string[]) => {
      const { exitCode, out, err } = await here.run('keys', ...argv)
      expect(out).toBe('')
      return [exitCode, err]
    }
    expect(await failure('create', 'x', '--tier', 'pto')).toEqual([
      2,
      'headgate: there is no tier pto: did you mean pro?\n',
    ])
    expect(await failure('revoke', 'nobody')).toEqual([
      1,
      'headgate: there is no key nobody in force: list them to see their names\n',
    ])
    expect(await failure('create', 'fixed')).toEqual([
      1,
      expect.stringContaining('in the configuration'),
    ])
    expect(await failure('create', 'x', '--expires-in', 'soon')).toEqual([
      2,
      expect.stringContaining('is not a duration'),
    ])
    expect(await failure('create', 'x', '--scopes', 'leases,all')).toEqual([
      2,
      expect.stringContaining('is not a list of scopes, write requests, leases or leases:all'),
    ])
    expect(await failure('list', '--ledger', 'mysql://x')).toEqual([
      2,
      expect.stringContaining('--ledger'),
    ])
    expect(await failure('list', '--ledger', 'sqlite:./headgate.yaml')).toEqual([
      1,
      expect.stringMatching(/^headgate: .*headgate\.yaml.*\n$/),
    ])
  })

  it('says that the ledger is off', async () => {
    await using here = await openFolder('ledger: off\n')
    expect(await here.run('keys', 'list')).toEqual({
      exitCode: 2,
      out: '',
      err: 'headgate: the ledger is off: name one with --ledger\n',
    })
    expect(await readdir(here.folder)).toEqual(['headgate.yaml'])
  })
})

describe('headgate budgets', () => {
  it('shows, sets, resets and unsets', async () => {
    await using here = await openFolder()
    const rowsOf = ({ out }: { readonly out: string }) =>
      out
        .split('\n')
        .slice(1, -1)
        .map((line) => line.split(/ {2,}/).slice(0, 6))
    const configured = ['user:alice', '20 USD/month', 'configured', '0', '0', '20']
    expect(rowsOf(await here.run('budgets', 'show'))).toEqual([configured])
    expect(rowsOf(await here.run('budgets', 'set', 'user:alice', '0.5 USD/day'))).toEqual([
      ['user:alice', '0.5 USD/day', 'set', '0', '0', '0.5'],
    ])
    expect((await here.run('budgets', 'reset', 'user:alice')).exitCode).toBe(0)
    expect(rowsOf(await here.run('budgets', 'unset', 'user:alice'))).toEqual([configured])
    const { budgets } = JSON.parse((await here.run('budgets', 'show', 'user:alice', '--json')).out)
    expect(budgets).toMatchObject([{ subject: 'user:alice', remainingUsd: '20' }])
    expect(await here.run('budgets', 'show', 'user:bob')).toMatchObject({
      err: 'user:bob has no budget\n',
    })
  })

  it('says in one line what is wrong', async () => {
    await using here = await openFolder()
    const failure = async (...argv: string[]) => {
      const { exitCode, err } = await here.run('budgets', ...argv)
      return [exitCode, err]
    }
    expect(await failure('set', 'alice', '1 USD/day')).toEqual([
      2,
      expect.stringContaining('is not a subject, write user:NAME or team:NAME'),
    ])
    expect(await failure('set', 'user:alice', 'much')).toEqual([
      2,
      expect.stringContaining('is not a budget'),
    ])
    expect(await failure('unset', 'user:alice')).toEqual([
      1,
      'headgate: no budget was set for user:alice: it has those of the configuration\n',
    ])
    expect(await failure('reset', 'user:bob')).toEqual([
      1,
      'headgate: user:bob has no budget: set one first\n',
    ])
  })

  it('exports what was used', async () => {
    await using here = await openFolder()
    const { clock } = fakeIo({ env: THE_FILES_OWN })
    const ledger = await openLedger(
      {
        kind: 'sqlite',
        file: path.join(here.folder, 'ledger.db'),
        isDefault: false,
        shown: 'sqlite:',
      },
      {
        clock,
        events: { unavailable() {}, returned() {}, recovered() {}, warned() {}, failed() {} },
      },
    )
    const call = {
      id: 'r1',
      user: 'alice',
      team: null,
      key: null,
      tier: 'pro',
      provider: 'anthropic',
      model: '-m',
    }
    await ledger?.settle({
      call,
      attempt: 1,
      at: clock.now() - 1000,
      cost: null,
      outcome: 'answered',
      isExact: false,
      inputTokens: 1,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
      cacheWriteHourTokens: 0,
      outputTokens: 2,
    })
    await ledger?.close(1000)
    const { exitCode, out } = await here.run('budgets', 'export', '--from', '2020-01-01')
    expect(exitCode).toBe(0)
    expect(out.split('\r\n')[1]).toMatch(
      /Z,r1,1,alice,,,pro,anthropic,'-m,answered,,false,1,0,0,0,2$/,
    )
    const other = await here.run('budgets', 'export', 'user:bob', '--from', '2020-01-01')
    expect(other.out.split('\r\n')).toHaveLength(2)
  })
})
