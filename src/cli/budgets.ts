// headgate budgets: budgets and spending, on the ledger itself. Owns: its subcommands, and how they
// print. Must not know: how a budget is kept or counted.
import type { Command } from 'commander'
import type { Administration } from '../control/administration.ts'
import { budgetStandings, resetBudgets, setBudget, unsetBudget } from '../control/budgets.ts'
import { usageCsv } from '../control/usage-csv.ts'
import { viewOfBudget } from '../control/views.ts'
import * as written from '../control/written.ts'
import type { EpochMs } from '../core/clock.ts'
import type { SubjectName } from '../ledger/ledger.ts'
import type { WrittenBudget } from '../policy/units.ts'
import { type AdminFlags, addLedgerFlags, administer, checkedArgument } from './administer.ts'
import type { ExitCode } from './exit-codes.ts'
import { checkedFlag } from './flags.ts'
import type { Io } from './io.ts'
import { columns } from './terminal/columns.ts'

interface ExportFlags extends AdminFlags {
  readonly from?: EpochMs
  readonly to?: EpochMs
}

type Change = (admin: Administration) => Promise<void>

export function addBudgetsCommand(program: Command, io: Io, end: (code: ExitCode) => void): void {
  const budgets = program.command('budgets').description('Show and change budgets, export usage.')
  const command = (name: string, doc: string): Command =>
    addLedgerFlags(budgets.command(name).description(doc))
  const subject = (name: string) =>
    checkedArgument(name, 'user:NAME or team:NAME', written.subjectName)
  const json = '--json'

  command('show', 'Show how budgets stand: one subject’s, or all.')
    .addArgument(subject('[subject]'))
    .option(json, 'Print JSON.')
    .action(async (name: SubjectName | undefined, flags: AdminFlags) =>
      end(await show(name ?? null, flags, io)),
    )
  command('set', 'Set a budget, in place of those of the configuration.')
    .addArgument(subject('<subject>'))
    .addArgument(checkedArgument('<budget>', 'Such as "50 USD/month".', written.budget))
    .option(json, 'Print JSON.')
    .action(async (name: SubjectName, budget: WrittenBudget, flags: AdminFlags) =>
      end(await change(name, flags, io, (admin) => setBudget(admin, name, budget))),
    )
  command('unset', 'Go back to the budgets of the configuration.')
    .addArgument(subject('<subject>'))
    .option(json, 'Print JSON.')
    .action(async (name: SubjectName, flags: AdminFlags) =>
      end(await change(name, flags, io, (admin) => unsetBudget(admin, name))),
    )
  command('reset', 'Give back what was spent in the present periods.')
    .addArgument(subject('<subject>'))
    .option(json, 'Print JSON.')
    .action(async (name: SubjectName, flags: AdminFlags) =>
      end(await change(name, flags, io, (admin) => resetBudgets(admin, name))),
    )
  command('export', 'Print what was used, attempt by attempt, as CSV.')
    .addArgument(subject('[subject]'))
    .addOption(checkedFlag('--from INSTANT', 'Default: the month’s start in UTC.', written.instant))
    .addOption(checkedFlag('--to INSTANT', 'Exclusive; default: now.', written.instant))
    .action(async (name: SubjectName | undefined, flags: ExportFlags) =>
      end(await exportUsage(name, flags, io)),
    )
}

function show(subject: SubjectName | null, flags: AdminFlags, io: Io): Promise<ExitCode> {
  return administer(flags, io, (admin) => print(admin, subject, flags, io))
}

function change(subject: SubjectName, flags: AdminFlags, io: Io, make: Change): Promise<ExitCode> {
  return administer(flags, io, async (admin) => {
    await make(admin)
    await print(admin, subject, flags, io)
  })
}

async function print(
  admin: Administration,
  subject: SubjectName | null,
  { json }: AdminFlags,
  { stdout, stderr }: Io,
): Promise<void> {
  const budgets = (await budgetStandings(admin, subject)).map(viewOfBudget)
  if (json) {
    stdout.write(`${JSON.stringify({ budgets }, null, 2)}\n`)
  } else if (budgets.length === 0) {
    stderr.write(subject ? `${subject} has no budget\n` : 'nobody has a budget\n')
  } else {
    const rows = budgets.map((budget) => [
      budget.subject,
      budget.isShadow ? `${budget.budget} (shadow)` : budget.budget,
      budget.origin,
      budget.spentUsd,
      budget.reservedUsd,
      budget.remainingUsd,
      budget.endAt,
    ])
    const head = ['SUBJECT', 'BUDGET', 'ORIGIN', 'SPENT', 'RESERVED', 'LEFT', 'UNTIL']
    stdout.write(columns([head, ...rows]))
  }
}

function exportUsage(
  subject: SubjectName | undefined,
  flags: ExportFlags,
  io: Io,
): Promise<ExitCode> {
  const now = io.clock.now()
  const { from = written.startOfMonth(now), to = now } = flags
  const query = subject === undefined ? { from, to } : { subject, from, to }
  return administer(flags, io, async ({ ledger }) => {
    for await (const chunk of usageCsv(ledger.events(query))) {
      if (io.outputClosed.aborted) return
      io.stdout.write(chunk)
    }
  })
}
