// headgate keys: virtual keys, on the ledger itself. Owns: its subcommands, and how they print. Must not
// know: what a key is, or where it is kept.
import type { Command } from 'commander'
import { createKey, listKeys, revokeKey, rotateKey } from '../control/keys.ts'
import { viewOfKey } from '../control/views.ts'
import type { KeyScope } from '../policy/subject.ts'
import * as values from '../policy/values.ts'
import { type AdminFlags, addLedgerFlags, administer, checkedArgument } from './administer.ts'
import type { ExitCode } from './exit-codes.ts'
import { checkedFlag } from './flags.ts'
import type { Io } from './io.ts'
import { columns } from './terminal/columns.ts'

interface CreateFlags extends AdminFlags {
  readonly user?: string
  readonly team?: string
  readonly tier?: string
  readonly scopes?: readonly KeyScope[]
  /** Milliseconds. */
  readonly expiresIn?: number
}

interface RotateFlags extends AdminFlags {
  /** Milliseconds. */
  readonly grace: number
}

const USUAL_GRACE_MS = 86_400_000

export function addKeysCommand(program: Command, io: Io, end: (code: ExitCode) => void): void {
  const keys = program.command('keys').description('Issue, list, rotate and revoke virtual keys.')
  const command = (name: string, doc: string): Command =>
    addLedgerFlags(keys.command(name).description(doc)).option('--json', 'Print JSON.')
  const id = checkedArgument('<id>', 'The name of the key, such as ci.', values.name)

  command('create', 'Issue a key, and print its secret this once.')
    .addArgument(id)
    .addOption(checkedFlag('--user NAME', 'Whom it stands for.', values.name))
    .addOption(checkedFlag('--team NAME', 'The team that is charged as well.', values.name))
    .addOption(checkedFlag('--tier NAME', 'Its own tier, in place of the user’s.', values.name))
    .addOption(checkedFlag('--scopes LIST', 'What it opens: requests,leases.', values.scopes))
    .addOption(checkedFlag('--expires-in DURATION', 'Such as 90d.', values.positiveDuration))
    .action(async (name: string, flags: CreateFlags) => end(await create(name, flags, io)))
  command('list', 'Show all keys, without their secrets.').action(async (flags: AdminFlags) =>
    end(await list(flags, io)),
  )
  command('revoke', 'Refuse a key from now on.')
    .addArgument(id)
    .action(async (name: string, flags: AdminFlags) => end(await revoke(name, flags, io)))
  command('rotate', 'Give a key a new secret, and print it this once.')
    .addArgument(id)
    .addOption(
      checkedFlag(
        '--grace DURATION',
        'The old secret stays in force so long.',
        values.duration,
      ).default(USUAL_GRACE_MS, '1d'),
    )
    .action(async (name: string, flags: RotateFlags) => end(await rotate(name, flags, io)))
}

function create(id: string, flags: CreateFlags, io: Io): Promise<ExitCode> {
  const { user = null, team = null, tier = null, scopes = null } = flags
  const { expiresIn: expiresInMs = null } = flags
  return administer(flags, io, async (admin) => {
    const issued = await createKey(admin, { id, user, team, tier, scopes, expiresInMs })
    printSecret(issued, flags, io)
  })
}

function list(flags: AdminFlags, io: Io): Promise<ExitCode> {
  return administer(flags, io, async (admin) => {
    const keys = (await listKeys(admin)).map(viewOfKey)
    if (flags.json) io.stdout.write(`${JSON.stringify({ keys }, null, 2)}\n`)
    else if (keys.length === 0) io.stderr.write('There are no keys: headgate keys create NAME\n')
    else {
      const rows = keys.map((key) => [
        key.id,
        key.user ?? '-',
        key.team ?? '-',
        key.tier ?? '-',
        key.scopes.join(),
        key.state,
        key.origin,
        key.expiresAt ?? 'never',
      ])
      const head = ['KEY', 'USER', 'TEAM', 'TIER', 'SCOPES', 'STATE', 'ORIGIN', 'EXPIRES']
      io.stdout.write(columns([head, ...rows]))
    }
  })
}

function revoke(id: string, flags: AdminFlags, io: Io): Promise<ExitCode> {
  return administer(flags, io, async (admin) => {
    await revokeKey(admin, id)
    io.stderr.write(`${id} is revoked\n`)
  })
}

function rotate(id: string, flags: RotateFlags, io: Io): Promise<ExitCode> {
  return administer(flags, io, async (admin) => {
    const { othersExpireAt, ...issued } = await rotateKey(admin, id, flags.grace)
    const until = new Date(othersExpireAt).toISOString()
    printSecret(issued, flags, io, { othersExpireAt: until })
    if (!flags.json) io.stderr.write(`its other secrets are in force until ${until}\n`)
  })
}

/** The secret alone goes to the output, so that it can be piped to where it is kept. */
function printSecret(
  issued: { readonly id: string; readonly secret: string },
  { json }: AdminFlags,
  { stdout, stderr }: Io,
  more: Readonly<Record<string, string>> = {},
): void {
  if (json) {
    stdout.write(`${JSON.stringify({ ...issued, ...more }, null, 2)}\n`)
    return
  }
  stdout.write(`${issued.secret}\n`)
  stderr.write('keep it: it is not shown again\n')
}
