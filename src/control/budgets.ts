// Budgets, as administrators see them. Owns: how the budgets of subjects stand, and changing them while
// the gate runs. Must not know: how they are shown, or how a call is held to them.
import type { Balance, Budget, SubjectName } from '../ledger/ledger.ts'
import { ANONYMOUS, type Identity } from '../policy/subject.ts'
import { type BudgetOverride, Subjects } from '../policy/subjects.ts'
import { suggestion } from '../policy/suggest.ts'
import type { WrittenBudget } from '../policy/units.ts'
import { type Administration, AdminRefusal } from './administration.ts'

export interface BudgetStanding {
  readonly balance: Balance
  /** `set`: an administrator's, in place of the configured ones. */
  readonly origin: 'configured' | 'set'
}

/**
 * How budgets stand now: one subject's, or those of all that are named in the configuration, by a key
 * or in a budget that was set.
 */
export async function budgetStandings(
  admin: Administration,
  subject: SubjectName | null,
): Promise<BudgetStanding[]> {
  const known = await readKnown(admin)
  const names = subject === null ? known.names : [subject]
  const budgets = names.flatMap((name) => budgetsOf(known, name))
  const balances = await admin.ledger.balances(budgets, admin.clock.now())
  const isSet = new Set(known.overrides.map((override) => override.subject))
  return balances.map((balance) => {
    const { budget } = balance
    return { balance, origin: !budget.isShadow && isSet.has(budget.subject) ? 'set' : 'configured' }
  })
}

/** @throws AdminRefusal when the subject is a team that the configuration does not know. */
export async function setBudget(
  admin: Administration,
  subject: SubjectName,
  { amount, period }: WrittenBudget,
): Promise<void> {
  const [kind, name] = parts(subject)
  const teams = [...admin.rules().teams.keys()]
  if (kind === 'team' && !teams.includes(name)) {
    const hint = teams.length > 0 ? suggestion(name, teams) : 'the configuration names none'
    throw new AdminRefusal('invalid', 'subject', `there is no team ${name}: ${hint}`)
  }
  await admin.ledger.setOverride({ subject, amount, period })
}

/**
 * Back to the configured budgets.
 *
 * @throws AdminRefusal when none was set.
 */
export async function unsetBudget(admin: Administration, subject: SubjectName): Promise<void> {
  if (await admin.ledger.removeOverride(subject)) return
  const why = `no budget was set for ${subject}: it has those of the configuration`
  throw new AdminRefusal('not_found', 'subject', why)
}

/**
 * Gives back what a subject has spent in the present periods.
 *
 * @throws AdminRefusal when it has no budget.
 */
export async function resetBudgets(admin: Administration, subject: SubjectName): Promise<void> {
  const budgets = budgetsOf(await readKnown(admin), subject)
  if (budgets.length === 0) {
    throw new AdminRefusal('not_found', 'subject', `${subject} has no budget: set one first`)
  }
  await admin.ledger.reset(budgets, admin.clock.now())
}

/** What is known of subjects, from the configuration and from administrators. */
interface Known {
  readonly subjects: Subjects
  readonly overrides: readonly BudgetOverride[]
  readonly names: readonly SubjectName[]
  /** Whom keys stand for. */
  readonly holders: readonly (Identity & { readonly key: string })[]
}

async function readKnown({ ledger, rules }: Administration): Promise<Known> {
  const { keys, overrides } = await ledger.registry()
  const configured = rules()
  const holders = [...configured.keys, ...keys].map(({ id, user, team, tier }) => {
    return { key: id, user, team, tier }
  })
  const names = new Set<SubjectName>([
    ...[...configured.users.keys()].map(userNamed),
    ...[...configured.teams.keys()].map((team): SubjectName => `team:${team}`),
    ...holders.map(({ user, key }) => userNamed(user ?? key)),
    ...overrides.map(({ subject }) => subject),
  ])
  return { subjects: new Subjects(configured, overrides), overrides, names: [...names], holders }
}

const userNamed = (user: string): SubjectName => `user:${user}`

/** Of itself alone, by whichever key: a user's calls may be held to a team's budgets as well. */
function budgetsOf({ subjects, holders }: Known, subject: SubjectName): readonly Budget[] {
  const [kind, name] = parts(subject)
  const withKeys = holders.filter(({ user, key }) => subject === userNamed(user ?? key))
  const identities: Identity[] = [{ ...ANONYMOUS, [kind]: name }, ...withKeys]
  const budgets = identities
    .flatMap((identity) => subjects.of(identity).budgets)
    .filter((budget) => budget.subject === subject)
  return [...new Map(budgets.map((budget) => [JSON.stringify(budget), budget])).values()]
}

function parts(subject: SubjectName): ['user' | 'team', string] {
  return subject.startsWith('team:') ? ['team', subject.slice(5)] : ['user', subject.slice(5)]
}
