// headgate check --user: says in words what binds one caller. Must not know: how settings are found, or
// what has been used.
import { scopesOf } from '../policy/identity.ts'
import type { ResolvedValue } from '../policy/resolve.ts'
import type { Settings } from '../policy/settings.ts'
import { ANONYMOUS, type Identity, type Subject, type Tier } from '../policy/subject.ts'
import { Subjects, type TierChoice } from '../policy/subjects.ts'
import { nearestTo } from '../policy/suggest.ts'
import { formatBudget, formatDuration, formatLimit } from '../policy/units.ts'

/** Whom to explain. */
export interface WhomFlags {
  readonly user?: string | undefined
  readonly team?: string | undefined
  /** The name of a key of the file. */
  readonly key?: string | undefined
}

type Row = Pick<ResolvedValue, 'label' | 'text'>

/** Who these flags name, or what is wrong with them. */
export function identityOf(
  { user, team, key: id }: WhomFlags,
  { rules }: Settings,
): Identity | string {
  if (id === undefined) return { ...ANONYMOUS, user: user ?? null, team: team ?? null }
  const key = rules.keys.find((entry) => entry.id === id)
  if (!key) {
    const nearest = nearestTo(
      id,
      rules.keys.map((entry) => entry.id),
    )
    const advice =
      nearest === null ? 'see headgate keys list for others' : `did you mean ${nearest}?`
    return `--key: ${id} is not a key of the file, ${advice}`
  }
  return { user: key.user ?? user ?? null, team: key.team ?? team ?? null, tier: key.tier, key: id }
}

/** What binds a caller, a row for each rule. */
export function explain(identity: Identity, settings: Settings): Row[] {
  const subjects = new Subjects(settings.rules)
  const subject = subjects.of(identity)
  const choice = subjects.tierOf(identity)
  return [
    { label: 'user', text: subject.identity.user ?? 'none, nothing is charged' },
    ...(subject.identity.team === null ? [] : [{ label: 'team', text: subject.identity.team }]),
    { label: 'tier', text: tierText(choice, subject.identity) },
    ...scopeRows(identity, settings),
    { label: 'lane', text: laneText(subject) },
    { label: 'weight', text: `${subject.weight} within its lane` },
    ...limitRows(subject),
    ...budgetRows(subject),
    ...sizeRows(subject),
    ...modelRows(subject, settings),
  ]
}

function tierText({ tier, by }: TierChoice, { key, user }: Identity): string {
  const reason = {
    key: `because the key ${key} names it`,
    user: `because users.${user} names it`,
    default: 'because it is the default_tier',
    nobody: 'none is named, and there is no default_tier',
  }[by]
  return tier === null ? reason : `${tier.name}, ${reason}`
}

function laneText({ lane }: Subject): string {
  return lane === null ? 'any that is asked for' : `${lane}, or a lower one that is asked for`
}

/** Of a key alone: there is nothing to say of whoever comes without. */
function scopeRows({ key }: Identity, { rules }: Settings): Row[] {
  const rule = rules.keys.find(({ id }) => id === key)
  return rule ? [{ label: 'opens', text: [...scopesOf(rule)].join(', ') }] : []
}

const OVERFLOW: Readonly<Record<Tier['overflow'], string>> = {
  reject: 'refused at once when there is no room',
  wait: 'waits when there is no room',
}

function limitRows({ scopes }: Subject): Row[] {
  const rows = scopes.flatMap(({ subject, limits, shadowLimits, overflow }) => [
    ...limits.map((limit) => `${limitText(limit)}, ${OVERFLOW[overflow]} (${subject})`),
    ...shadowLimits.map((limit) => `${limitText(limit)}, in shadow: refuses nothing (${subject})`),
  ])
  return rowsOf('limit', rows, 'none of its own')
}

const limitText = (limit: Parameters<typeof formatLimit>[0]): string =>
  `${limit.dimension} ${formatLimit(limit)}`

function budgetRows({ budgets }: Subject): Row[] {
  const rows = budgets.map((budget) => {
    const shadow = budget.isShadow ? ', in shadow: refuses nothing' : ''
    const steps = budget.warnAt.map((step) => `${step} %`).join(', ')
    const warning = steps === '' ? '' : `, warns at ${steps}`
    return `${formatBudget(budget)}${warning}${shadow} (${budget.subject})`
  })
  return rowsOf('budget', rows, 'none, unless an administrator set one')
}

function sizeRows({ maxTokensPerRequest, shadowMaxTokensPerRequest }: Subject): Row[] {
  const most = maxTokensPerRequest === null ? [] : [`${maxTokensPerRequest} tokens`]
  const shadow =
    shadowMaxTokensPerRequest === null
      ? []
      : [`${shadowMaxTokensPerRequest} tokens, in shadow: refuses nothing`]
  return rowsOf('largest request', [...most, ...shadow], 'any')
}

function modelRows({ routes, allowedModels }: Subject, settings: Settings): Row[] {
  const after = formatDuration(settings.fallbackAfterMs)
  const fallbacks = settings.fallbacks.map(
    ({ match, models }) => `${match} becomes ${models.join(', then ')} after a wait of ${after}`,
  )
  return [
    ...rowsOf(
      'routing',
      routes.map(({ match, model }) => `${match} becomes ${model}`),
      'the model asked for',
    ),
    ...rowsOf('models', allowedModels === null ? [] : [allowedModels.join(', ')], 'all'),
    ...rowsOf('fallback', fallbacks, 'none'),
  ]
}

function rowsOf(label: string, texts: readonly string[], otherwise: string): Row[] {
  return (texts.length === 0 ? [otherwise] : texts).map((text) => ({ label, text }))
}
