// Those who stand between agents and the provider: Headgate itself, and what people use without it.
// Each takes a piece of work and says how it ended. All run on the same virtual clock.
import Anthropic from '@anthropic-ai/sdk'
import PQueue from 'p-queue'
import type { Clock, VirtualClock } from '../../src/core/clock.ts'
import { Dispatcher } from '../../src/dispatch/dispatcher.ts'
import type { Upstream } from '../../src/dispatch/upstream.ts'
import { Estimator } from '../../src/estimate/estimator.ts'
import { Prices } from '../../src/ledger/prices.ts'
import { ANONYMOUS, type SubjectRules } from '../../src/policy/subject.ts'
import { Subjects } from '../../src/policy/subjects.ts'
import { anthropic } from '../../src/providers/anthropic/anthropic.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import type { SimulatedAnthropic, Work } from './simulated-anthropic.ts'

export interface Ask {
  readonly agent: string
  readonly body: Buffer
  readonly work: Work
  readonly maxTokens: number
}

export interface Outcome {
  readonly isAnswered: boolean
  /** When the provider began to answer; null when it never did. */
  readonly begunAt: number | null
}

export interface Contender {
  readonly name: string
  ask(ask: Ask): Promise<Outcome>
}

const ACCOUNT = { key: 'bench', organization: 'bench-organization' }

const NO_RULES: SubjectRules = {
  tiers: new Map(),
  defaultTier: null,
  users: new Map(),
  teams: new Map(),
  keys: [],
  warnAt: [],
}

export interface HeadgateOptions {
  /** The tiers that agents have, as users by their names. @default none */
  readonly rules?: SubjectRules
  readonly isBlind?: boolean
  readonly onEvent?: (text: string) => void
}

/** The dispatch, gate, provider and estimators of the gateway; only the sockets are left out. */
export function headgate(
  clock: Clock,
  random: () => number,
  provider: SimulatedAnthropic,
  options: HeadgateOptions = {},
): Contender & { readonly dispatcher: Dispatcher } {
  const works = new WeakMap<Buffer, Work>()
  const subjects = new Subjects(options.rules ?? NO_RULES)
  const upstream: Upstream = {
    send: ({ body }, handler) => {
      const work = Buffer.isBuffer(body) ? works.get(body) : undefined
      if (!work) throw new Error('a request without work')
      const answer = provider.arrive(ACCOUNT, work, {
        headers: (status, headers) => handler.onHeaders(status, headers),
        data: (chunk) => handler.onData(chunk),
        end: () => handler.onEnd(),
      })
      return { resume: () => {}, abort: () => answer.abort() }
    },
  }
  const dispatcher = new Dispatcher({
    clock,
    random,
    store: new MemoryStore(clock, (resource) => ({
      limits: subjects.limitsOf(resource) ?? [],
      learns: subjects.limitsOf(resource) === null,
      agingMs: 60_000,
      maxQueued: 100_000,
      floors: { soft: 0, hard: 0 },
    })),
    ledger: null,
    rules: {
      subjects,
      prices: new Prices([]),
      sendsUnpriced: true,
      fallbacks: [],
      fallbackAfterMs: Number.POSITIVE_INFINITY,
    },
    estimator: new Estimator({ blind: options.isBlind ?? false }),
    upstream,
    baseOf: () => ({ origin: 'http://provider', pathPrefix: '' }),
    events: {
      settled: () => {},
      refused: (_facts, refusal) => options.onEvent?.(`refused ${refusal.message}`),
      cancelled: () => {},
      shadowed: () => {},
      budgetWarned: () => {},
      bounced: (facts, reason) => options.onEvent?.(`${clock.now()} ${facts.flow} ${reason}`),
      failed: (error) => {
        throw error
      },
    },
  })
  let count = 0
  const operation = anthropic.match('POST', '/v1/messages', {})
  if (!operation) throw new Error('the provider knows no messages')
  const ask = ({ agent, body, work }: Ask): Promise<Outcome> =>
    new Promise((resolve) => {
      works.set(body, work)
      let begunAt: number | null = null
      let status = 0
      dispatcher.start(
        {
          id: `call-${count++}`,
          provider: anthropic,
          operation,
          method: 'POST',
          headers: { 'x-api-key': 'bench', 'x-claude-code-session-id': agent },
          forwardHeaders: [],
          body,
          identity: options.rules ? { ...ANONYMOUS, user: agent } : ANONYMOUS,
          believesBody: false,
          flow: null,
          lane: null,
          deadlineAt: Number.POSITIVE_INFINITY,
          longestPlainWaitMs: Number.POSITIVE_INFINITY,
        },
        {
          waiting: () => {},
          respond: (code) => {
            status = code
            begunAt = clock.now()
          },
          write: () => true,
          end: () => resolve({ isAnswered: status === 200, begunAt }),
          refuse: () => resolve({ isAnswered: false, begunAt: null }),
          fail: () => resolve({ isAnswered: false, begunAt }),
        },
      )
    })
  return { name: options.isBlind ? 'headgate, blind to caching' : 'headgate', ask, dispatcher }
}

/** The official SDK with its own retries, one client an agent, as programs use it. */
export function sdk(provider: SimulatedAnthropic, clock: Clock): Contender {
  const works = new Map<string, Work>()
  const client = new Anthropic({
    apiKey: 'bench',
    baseURL: 'http://provider',
    fetch: async (_url, init) => {
      const id = new Headers(init?.headers).get('x-work') ?? ''
      const work = works.get(id)
      if (!work) throw new Error('a request without work')
      return await fetchAnswer(provider, work)
    },
  })
  let count = 0
  const ask = async ({ work, maxTokens }: Ask): Promise<Outcome> => {
    const id = String(count++)
    works.set(id, work)
    let begunAt: number | null = null
    try {
      const stream = await client.messages.create(
        {
          model: 'claude-opus-5',
          max_tokens: maxTokens,
          stream: true,
          messages: [{ role: 'user', content: 'x' }],
        },
        { headers: { 'x-work': id } },
      )
      begunAt = clock.now()
      for await (const _event of stream);
      return { isAnswered: true, begunAt }
    } catch (error) {
      if (!(error instanceof Anthropic.APIError)) throw error
      return { isAnswered: false, begunAt }
    } finally {
      works.delete(id)
    }
  }
  return { name: 'official SDK, its own retries', ask }
}

/** The SDK behind p-queue, as people bound their concurrency by hand. */
export function pQueue(inner: Contender, concurrency: number): Contender {
  const queue = new PQueue({ concurrency })
  return {
    name: `p-queue of ${concurrency} around the SDK`,
    ask: (ask) => queue.add(() => inner.ask(ask)),
  }
}

function fetchAnswer(provider: SimulatedAnthropic, work: Work): Promise<Response> {
  return new Promise((resolve) => {
    let controller: ReadableStreamDefaultController<Uint8Array> | null = null
    const body = new ReadableStream<Uint8Array>({
      start: (opened) => {
        controller = opened
      },
    })
    provider.arrive(ACCOUNT, work, {
      headers: (status, headers) => resolve(new Response(body, { status, headers })),
      data: (chunk) => controller?.enqueue(chunk),
      end: () => controller?.close(),
    })
  })
}

/** Lets libraries that set timers of their own live on virtual time. Returns the way back. */
export function onVirtualTimers(clock: VirtualClock): () => void {
  const { setTimeout: realSet, clearTimeout: realClear } = globalThis
  const patched = Object.assign(
    (run: (...given: unknown[]) => void, delayMs = 0, ...given: unknown[]) => {
      const timer = clock.schedule(clock.now() + delayMs, () => run(...given))
      return Object.assign(timer, { unref: () => timer, ref: () => timer })
    },
    { __promisify__: realSet.__promisify__ },
  )
  Object.assign(globalThis, {
    setTimeout: patched,
    clearTimeout: (timer: { cancel?: () => void } | undefined) => timer?.cancel?.(),
  })
  return () => Object.assign(globalThis, { setTimeout: realSet, clearTimeout: realClear })
}
