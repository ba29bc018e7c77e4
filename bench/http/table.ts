// The figures of a run as Markdown, each beside its bar. Owns: the bars for HTTP (docs/design).
// Must not know: how anything is measured.
import { markdownTable, type Setting } from '../report.ts'
import type { HeldFigures } from './held-callers.ts'
import type { ClosedLoopResult, DelayResult, LongStreamResult } from './phases.ts'

export interface HttpResults extends Setting {
  /** Whether proxy and load had a core each. */
  readonly isPinned: boolean
  readonly peers: readonly (
    | { readonly name: string; readonly version: string }
    | { readonly name: string; readonly absentBecause: string }
  )[]
  readonly closedLoop: readonly ClosedLoopResult[]
  readonly latency: readonly DelayResult[]
  readonly firstEvent: readonly DelayResult[]
  readonly longStreams: readonly LongStreamResult[]
  readonly held: readonly (HeldFigures & { readonly subject: string })[]
}

const BARS = {
  cpuRatio: 1.3,
  addedP50Ms: 0.45,
  firstEventMs: 0.8,
  /** A proxy whose peak grows by less, while the stream grows by 40 MB, buffers no stream. */
  streamGrowthBytes: 10 * 2 ** 20,
  bytesPerCaller: 25_000,
}

interface Row {
  readonly what: string
  readonly bar: string
  readonly isMet: boolean | null
  readonly cell: (subject: string) => string
}

const COLUMNS = ['headgate', 'pass-through', 'nginx', 'portkey', 'direct']

export function renderHttp(results: HttpResults): string {
  const rows = [
    ...closedLoopRows(results, 2000, '2 KB'),
    ...closedLoopRows(results, 200_000, '200 KB'),
    ...delayRows(results),
    ...streamRows(results),
    heldRow(results),
  ]
  const head = ['what', 'bar', 'Headgate', 'verdict', 'pass-through', 'nginx', 'Portkey', 'direct']
  const body = rows.map((row) => {
    const [headgate = '', ...others] = COLUMNS.map(row.cell)
    return [row.what, row.bar, headgate, verdict(row.isMet), ...others]
  })
  return [provenance(results), '', markdownTable([head, ...body])].join('\n')
}

function provenance(results: HttpResults): string {
  const cores = results.isPinned ? 'the proxy on a core of its own' : 'cores not separated'
  const peers = results.peers.map((peer) =>
    'version' in peer ? `${peer.name} ${peer.version}` : `${peer.name}: ${peer.absentBecause}`,
  )
  return [
    `\`${results.command}\`, ${results.date}, Node ${results.node}, ${results.machine}; ${cores},`,
    `load average before the run ${results.loadAverage.toFixed(1)}.`,
    `Peers: ${peers.join('; ')}.`,
  ].join('\n')
}

function closedLoopRows(results: HttpResults, bodyBytes: number, size: string): Row[] {
  const figures = results.closedLoop.filter((result) => result.bodyBytes === bodyBytes)
  const of = (subject: string) => figures.find((result) => result.subject === subject)
  const ratio = of('headgate')?.cpuRatio
  return [
    {
      what: `proxy CPU per request, ${size} body`,
      bar: `≤ ${BARS.cpuRatio} × pass-through`,
      isMet: isAtMost(ratio, BARS.cpuRatio),
      cell: (subject) => {
        const { cpuUsPerRequest, cpuRatio } = of(subject) ?? {}
        if (typeof cpuUsPerRequest !== 'number' || typeof cpuRatio !== 'number') return '–'
        return `${cpuUsPerRequest.toFixed(0)} µs (${cpuRatio.toFixed(2)} ×)`
      },
    },
    {
      what: `requests/s, ${size} body, 32 connections`,
      bar: '–',
      isMet: null,
      cell: (subject) => {
        const figure = of(subject)
        if (!figure) return '–'
        const failed = figure.failures > 0 ? `, ${figure.failures} failed` : ''
        return `${figure.requestsPerSecond.toFixed(0)}${failed}`
      },
    },
  ]
}

function delayRows(results: HttpResults): Row[] {
  const [of, ofStream] = [bySubject(results.latency), bySubject(results.firstEvent)]
  return [
    {
      what: 'added latency at 200 requests/s, p50 / p99',
      bar: `p50 ≤ ${BARS.addedP50Ms} ms`,
      isMet: isAtMost(addedP50Ms(results.latency), BARS.addedP50Ms),
      cell: (subject) => delayCell(of(subject)),
    },
    {
      what: "stream's first event later than direct, p50 / p99",
      bar: `p50 ≤ ${BARS.firstEventMs} ms`,
      isMet: isAtMost(addedP50Ms(results.firstEvent), BARS.firstEventMs),
      cell: (subject) => delayCell(ofStream(subject)),
    },
  ]
}

/** Headgate's figure. None where a proxy seems faster than none at all: that is the machine's noise. */
function addedP50Ms(figures: readonly DelayResult[]): number | null {
  if (figures.some((figure) => figure.addedP50Ms < 0)) return null
  return bySubject(figures)('headgate')?.addedP50Ms ?? null
}

function delayCell(figure: DelayResult | undefined): string {
  if (!figure) return '–'
  const failed = figure.failures > 0 ? `, ${figure.failures} of ${figure.sent} failed` : ''
  if (figure.subject === 'direct') return `(${spread(figure.p50Ms, figure.p99Ms)})${failed}`
  return `${spread(figure.addedP50Ms, figure.addedP99Ms)}${failed}`
}

function spread(p50Ms: number, p99Ms: number): string {
  return `${p50Ms.toFixed(2)} / ${p99Ms.toFixed(2)} ms`
}

function streamRows(results: HttpResults): Row[] {
  const of = bySubject(results.longStreams)
  const ofStream = bySubject(results.firstEvent)
  const isIdentical = (subject: string): boolean | null => {
    const [long, paced] = [of(subject), ofStream(subject)]
    return long && paced ? long.isIdentical && paced.isIdentical : null
  }
  const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`
  const sizes = results.longStreams[0]
  const lengths = sizes ? `${megabytes(sizes.shortBytes)} to ${megabytes(sizes.longBytes)}` : ''
  return [
    {
      what: 'stream bytes identical',
      bar: 'yes',
      isMet: isIdentical('headgate'),
      cell: (subject) => ({ true: 'yes', false: '**no**', null: '–' })[`${isIdentical(subject)}`],
    },
    {
      what: `growth of peak memory, slow reader, stream of ${lengths}`,
      bar: `≤ ${megabytes(BARS.streamGrowthBytes)}`,
      isMet: isAtMost(growth(of('headgate')), BARS.streamGrowthBytes),
      cell: (subject) => {
        const figure = of(subject)
        return figure
          ? `${megabytes(growth(figure) ?? 0)} (${megabytes(figure.longPeakBytes)} in all)`
          : '–'
      },
    },
  ]
}

function growth(figure: LongStreamResult | undefined): number | undefined {
  return figure && Math.max(0, figure.longPeakBytes - figure.shortPeakBytes)
}

function heldRow(results: HttpResults): Row {
  const of = bySubject(results.held)
  const headgate = of('headgate')
  return {
    what: 'memory per waiting caller, 2 KB body',
    bar: `≤ ${BARS.bytesPerCaller / 1000} KB`,
    isMet: headgate?.turnedAway ? false : isAtMost(headgate?.bytesPerCaller, BARS.bytesPerCaller),
    cell: (subject) => {
      const figure = of(subject)
      if (!figure) return '–'
      const turnedAway = figure.turnedAway > 0 ? `, ${figure.turnedAway} turned away` : ''
      const upstream = `${figure.upstreamConnections} of them upstream`
      const size = `${(figure.bytesPerCaller / 1000).toFixed(1)} KB`
      return `${size} × ${figure.callers} (${upstream})${turnedAway}`
    },
  }
}

function bySubject<T extends { readonly subject: string }>(
  figures: readonly T[],
): (subject: string) => T | undefined {
  return (subject) => figures.find((figure) => figure.subject === subject)
}

function isAtMost(value: number | null | undefined, bar: number): boolean | null {
  return typeof value === 'number' ? value <= bar : null
}

function verdict(isMet: boolean | null): string {
  if (isMet === null) return '–'
  return isMet ? 'met' : '**missed**'
}
