// The status as a screen of text. Owns: what stands where. Must not know: where the status comes
// from, or how often it is drawn.
import type { ResourceStatus, Status } from '../control/status.ts'
import type { EpochMs } from '../core/clock.ts'
import type { Format, Paint } from './terminal/paint.ts'
import {
  amountInWords,
  bar,
  joinFitting,
  padEnd,
  plain,
  spanInWords,
  windowInWords,
} from './terminal/words.ts'

export interface View {
  readonly url: string
  readonly now: EpochMs
  /** The width to fit into. */
  readonly columns: number
  readonly paint: Paint
}

type LimitStatus = ResourceStatus['limits'][number]

export function statusLines(status: Status, view: View): string[] {
  const blocks = status.resources.map((resource) => resourceLines(resource, view))
  if (blocks.length === 0) blocks.push([view.paint('dim', 'No call has come through yet.')])
  return [headLine(status, view), ...blocks.flatMap((block) => ['', ...block])]
}

function headLine({ inFlight, queued, store }: Status, { url, columns, paint }: View): string {
  const parts = [
    `${paint('bold', 'Headgate')} ${url}`,
    `${amountInWords(inFlight)} in flight`,
    waiting(queued, paint),
    store.degraded ? paint('red', storeInWords(store)) : storeInWords(store),
  ]
  return joinFitting(parts, '   ', columns)
}

const WITHOUT_STORE = {
  degrade: 'a share of the limits',
  open: 'no limits',
  closed: 'nobody new',
} as const

function storeInWords({ kind, degraded, onFailure }: Status['store']): string {
  if (!degraded) return `${kind} store`
  const meanwhile = onFailure ? `: ${WITHOUT_STORE[onFailure]} until it is back` : ''
  return `${kind} store out of reach${meanwhile}`
}

function resourceLines(resource: ResourceStatus, view: View): string[] {
  const { columns, paint } = view
  const rows = [lineParts(resource, view), headParts(resource, view)]
  return [
    paint('bold', plain(resource.name)),
    ...rows
      .filter((parts) => parts.length > 0)
      .map((parts) => `  ${joinFitting(parts, '   ', columns - 2)}`),
    ...limitLines(resource.limits, view),
  ]
}

function lineParts(resource: ResourceStatus, { now, paint }: View): string[] {
  const { inFlight, queued, pausedUntil, oldestWaitMs } = resource
  const parts = [`${amountInWords(inFlight)} in flight`, waiting(queued, paint)]
  if (queued > 0 && oldestWaitMs !== null) parts.push(`oldest ${spanInWords(oldestWaitMs)}`)
  if (pausedUntil !== null && pausedUntil > now)
    parts.push(paint('red', `paused for ${spanInWords(pausedUntil - now)}`))
  return parts
}

/** What the head of the line waits for, and until when. */
function headParts({ queued, boundBy, nextAt }: ResourceStatus, { now }: View): string[] {
  if (queued === 0) return []
  return [
    ...(boundBy === null ? [] : [`held by ${plain(boundBy)}`]),
    ...(nextAt === null ? [] : [`next in ${spanInWords(nextAt - now)}`]),
  ]
}

function waiting(queued: number, paint: Paint): string {
  const text = `${amountInWords(queued)} waiting`
  return queued > 0 ? paint('yellow', text) : text
}

/** From so many columns on there is room for a bar; it grows with them. */
const COLUMNS_FOR_BAR = 60

function limitLines(limits: readonly LimitStatus[], { columns, paint }: View): string[] {
  if (limits.length === 0) return [`  ${paint('dim', 'no limit known yet')}`]
  const names = limits.map(({ dimension }) => dimension.replaceAll('_', ' '))
  const levels = limits.map((limit) => levelOf(limit))
  const nameWidth = Math.max(...names.map((name) => name.length))
  const levelWidth = Math.max(...levels.map((level) => level.length))
  const barWidth = columns < COLUMNS_FOR_BAR ? 0 : Math.min(30, Math.floor(columns / 5))
  return limits.map((limit, index) => {
    const parts = [
      (names[index] ?? '').padEnd(nameWidth),
      ...(barWidth > 0 ? [limitBar(limit, barWidth, paint)] : []),
      `${(levels[index] ?? '').padStart(levelWidth)} ${windowInWords(limit.windowMs)}`,
      ...remarks(limit).map((remark) => paint('dim', remark)),
    ]
    return `  ${joinFitting(parts, '  ', columns - 2)}`
  })
}

const levelOf = ({ remaining, amount }: LimitStatus): string =>
  `${amountInWords(Math.floor(remaining))} / ${amountInWords(amount)}`

function remarks({ guard = 0, othersPerMinute = 0, source }: LimitStatus): string[] {
  return [
    ...(source === 'learnt' ? ['learnt'] : []),
    ...(guard >= 1 ? [`guard ${amountInWords(guard)}`] : []),
    ...(othersPerMinute >= 1 ? [`others ${amountInWords(othersPerMinute)}/min`] : []),
  ]
}

function limitBar({ remaining, amount }: LimitStatus, width: number, paint: Paint): string {
  const share = remaining / amount
  return paint(levelFormat(share), padEnd(bar(share, width), width))
}

function levelFormat(share: number): Format {
  if (share > 0.5) return 'green'
  return share > 0.15 ? 'yellow' : 'red'
}
