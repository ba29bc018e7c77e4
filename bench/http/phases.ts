// The measurements, each on every proxy in turn so that the machine's moods hit all alike.
// Owns: what is done to a proxy. Must not know: how proxies start, or what a good figure is.
import type { RecordableHistogram } from 'node:perf_hooks'
import { createHistogram } from 'node:perf_hooks'
import type { Pool } from 'undici'
import { median } from '../report.ts'
import { messagesRequest, runClosedLoop } from './closed-loop.ts'
import { exchange, openPool, type Target } from './exchange.ts'
import { runOpenLoop, seededRandom } from './open-loop.ts'
import type { StubUpstream } from './peers.ts'
import { cpuTimeUs, residentBytes } from './process-figures.ts'

/** What is measured: a proxy, or the upstream itself (`pid` null). */
export interface Subject extends Target {
  readonly name: string
  readonly pid: number | null
}

export interface Effort {
  readonly rounds: number
  readonly warmUpMs: number
  readonly closedLoopMs: number
  readonly openLoopMs: number
  readonly floodBytes: readonly [short: number, long: number]
  readonly callers: number
}

export interface ClosedLoopResult {
  readonly subject: string
  readonly bodyBytes: number
  readonly requestsPerSecond: number
  readonly failures: number
  /** Processor time of the proxy, null for the upstream itself. */
  readonly cpuUsPerRequest: number | null
  /** Median over the rounds of this proxy's time over the pass-through's in the same round. */
  readonly cpuRatio: number | null
}

const CONNECTIONS = 32

/** Processor time per request and throughput, 32 connections, always busy. */
export async function measureClosedLoop(
  subjects: readonly Subject[],
  body: Buffer,
  effort: Effort,
): Promise<ClosedLoopResult[]> {
  for (const subject of subjects) await closedLoopRound(subject, body, effort.warmUpMs)
  const rounds = new Map(subjects.map((subject) => [subject.name, [] as ClosedLoopRound[]]))
  for (let round = 0; round < effort.rounds; round++) {
    for (const subject of subjects) {
      rounds.get(subject.name)?.push(await closedLoopRound(subject, body, effort.closedLoopMs))
    }
  }
  const standard = rounds.get('pass-through') ?? []
  return subjects.map((subject) => {
    const own = rounds.get(subject.name) ?? []
    const ratios = own.map((round, at) => round.cpuUs / (standard[at]?.cpuUs ?? Number.NaN))
    return {
      subject: subject.name,
      bodyBytes: body.length,
      requestsPerSecond: median(own.map((round) => round.perSecond)),
      failures: own.reduce((sum, round) => sum + round.failures, 0),
      cpuUsPerRequest: subject.pid === null ? null : median(own.map((round) => round.cpuUs)),
      cpuRatio: subject.pid === null ? null : median(ratios),
    }
  })
}

interface ClosedLoopRound {
  readonly perSecond: number
  readonly failures: number
  /** Per request. */
  readonly cpuUs: number
}

async function closedLoopRound(
  subject: Subject,
  body: Buffer,
  durationMs: number,
): Promise<ClosedLoopRound> {
  const request = messagesRequest(subject.url, body, subject.headers)
  const cpuBefore = subject.pid === null ? 0 : cpuTimeUs(subject.pid)
  const loop = { url: subject.url, request, connections: CONNECTIONS, durationMs }
  const { requests, failures, elapsedMs } = await runClosedLoop(loop)
  const cpuUs = subject.pid === null ? 0 : cpuTimeUs(subject.pid) - cpuBefore
  return { perSecond: (requests * 1000) / elapsedMs, failures, cpuUs: cpuUs / requests }
}

export interface DelayResult {
  readonly subject: string
  readonly sent: number
  readonly failures: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** What the proxy adds to the upstream's own figure, 0 for the upstream itself. */
  readonly addedP50Ms: number
  readonly addedP99Ms: number
  /** Whether every body was the same as the upstream's own. */
  readonly isIdentical: boolean
}

/** Time to the first bytes of the answer's body, at a rate that leaves every proxy mostly idle. */
export async function measureDelay(
  subjects: readonly Subject[],
  body: Buffer,
  ratePerSecond: number,
  effort: Effort,
): Promise<DelayResult[]> {
  const courses = subjects.map((subject) => new DelayCourse(subject, body))
  for (const course of courses) await course.run(ratePerSecond, effort.warmUpMs, 0)
  for (const course of courses) course.forget()
  for (let round = 1; round <= effort.rounds; round++) {
    for (const course of courses) await course.run(ratePerSecond, effort.openLoopMs, round)
  }
  await Promise.all(courses.map((course) => course.pool.close()))
  const direct = courses.find((course) => course.subject.pid === null)
  return courses.map((course) => course.comparedWith(direct ?? course))
}

class DelayCourse {
  readonly subject: Subject
  readonly pool: Pool
  readonly #body: Buffer
  readonly #digests = new Set<string>()
  #latencyNs: RecordableHistogram = createHistogram()
  #sent = 0
  #failures = 0

  constructor(subject: Subject, body: Buffer) {
    this.subject = subject
    this.pool = openPool(subject)
    this.#body = body
  }

  async run(ratePerSecond: number, durationMs: number, seed: number): Promise<void> {
    const unfinished: Promise<unknown>[] = []
    const send = (): Promise<void> => {
      const { begun, finished } = exchange(this.pool, this.subject, this.#body)
      const noted = finished.then((digest) => this.#digests.add(digest))
      unfinished.push(noted.catch(() => {}))
      return begun
    }
    const random = seededRandom(seed)
    const figures = await runOpenLoop({ ratePerSecond, durationMs, random, send })
    await Promise.all(unfinished)
    this.#latencyNs.add(figures.latencyNs)
    this.#sent += figures.sent
    this.#failures += figures.failures
  }

  forget(): void {
    this.#latencyNs = createHistogram()
    this.#sent = 0
    this.#failures = 0
  }

  comparedWith(direct: DelayCourse): DelayResult {
    const [p50Ms, p99Ms] = [this.#percentileMs(50), this.#percentileMs(99)]
    return {
      subject: this.subject.name,
      sent: this.#sent,
      failures: this.#failures,
      p50Ms,
      p99Ms,
      addedP50Ms: p50Ms - direct.#percentileMs(50),
      addedP99Ms: p99Ms - direct.#percentileMs(99),
      isIdentical: [...this.#digests, ...direct.#digests].every(
        (digest, _, [first]) => digest === first,
      ),
    }
  }

  #percentileMs(percentile: number): number {
    return this.#latencyNs.percentile(percentile) / 1e6
  }
}

export interface LongStreamResult {
  readonly subject: string
  readonly shortBytes: number
  readonly longBytes: number
  /** Highest resident memory while each stream passed to a slow reader. */
  readonly shortPeakBytes: number
  readonly longPeakBytes: number
  readonly isIdentical: boolean
}

const SLOW_READER = { bytesPerMs: 25_000 }

/** What a short and a long stream to a reader slower than the upstream do to a proxy's memory. */
export async function measureLongStreams(
  subjects: readonly Subject[],
  upstream: StubUpstream,
  body: Buffer,
  [shortBytes, longBytes]: Effort['floodBytes'],
): Promise<LongStreamResult[]> {
  const direct = subjects.find((subject) => subject.pid === null)
  await upstream.behave({ kind: 'flood', bytes: longBytes })
  const expected = direct ? await peakWhileStreaming(direct, body) : null
  const results: LongStreamResult[] = []
  for (const subject of subjects.filter((subject) => subject.pid !== null)) {
    await upstream.behave({ kind: 'flood', bytes: shortBytes })
    const short = await peakWhileStreaming(subject, body)
    await upstream.behave({ kind: 'flood', bytes: longBytes })
    const long = await peakWhileStreaming(subject, body)
    results.push({
      subject: subject.name,
      shortBytes,
      longBytes,
      shortPeakBytes: short.peakBytes,
      longPeakBytes: long.peakBytes,
      isIdentical: long.digest === expected?.digest,
    })
  }
  return results
}

async function peakWhileStreaming(
  subject: Subject,
  body: Buffer,
): Promise<{ digest: string; peakBytes: number }> {
  const pool = openPool(subject)
  let peakBytes = 0
  const look = (): void => {
    if (subject.pid !== null) peakBytes = Math.max(peakBytes, residentBytes(subject.pid))
  }
  const watch = setInterval(look, 10)
  const { begun, finished } = exchange(pool, subject, body, SLOW_READER)
  try {
    await begun
    return { digest: await finished, peakBytes }
  } finally {
    clearInterval(watch)
    await pool.close()
  }
}
