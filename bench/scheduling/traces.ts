// Real traces as agents. Owns: reading the files and turning rows into work. The files are not part
// of the repository: HEADGATE_TRACES names their folder.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { seededRandom } from '../../src/core/random.ts'
import type { CachedPrefix } from '../../src/emulator/emulator.ts'
import type { Agent, Step } from './run-agents.ts'
import { MODEL, plainBody } from './workloads.ts'

export type Row = Readonly<Record<string, string>>

export function tracesFolder(): string | null {
  const folder = process.env.HEADGATE_TRACES
  return folder && existsSync(folder) ? folder : null
}

export function readTrace(folder: string, name: string): Row[] {
  const text = gunzipSync(readFileSync(join(folder, `${name}.csv.gz`))).toString('utf8')
  const [header = '', ...lines] = text.trimEnd().split('\n')
  const names = header.split(',')
  return lines.map((line) => {
    const values = line.split(',')
    return Object.fromEntries(names.map((key, index) => [key, values[index] ?? '']))
  })
}

const TTFT_MS = 800
const TOKENS_PER_SECOND = 80
const BYTES_PER_TOKEN = 3.4
const SCATTER = 0.1

/** Rows that arrive when they arrive, whatever became of those before: one agent each. */
export function openLoop(rows: readonly Row[], seed: number): Agent[] {
  const random = seededRandom(seed)
  return rows.map((row, index) => {
    const inputTokens = Math.max(1, Number(row.input_tokens))
    const bytes = inputTokens * BYTES_PER_TOKEN * (1 - SCATTER + 2 * SCATTER * random())
    const name = row.client || 'everyone'
    function* once(): Generator<Step> {
      yield {
        thinkMs: Number(row.t_ms),
        ask: {
          agent: name,
          maxTokens: 8192,
          body: plainBody(Math.round(bytes), 8192),
          work: {
            model: MODEL,
            inputTokens,
            prefixes: [],
            outputTokens: Math.max(1, Number(row.output_tokens)),
            ttftMs: TTFT_MS,
            tokensPerSecond: TOKENS_PER_SECOND,
          },
        },
      }
    }
    return { name: `${name}#${index}`, steps: once }
  })
}

interface Segment {
  readonly key: string
  readonly tokens: number
  readonly text: string
}

/** Bytes a token in replayed conversations: few, since only their proportions matter here. */
const CONVERSATION_BYTES_PER_TOKEN = 1
const CACHE_MS = 5 * 60_000

/**
 * Recorded sessions of a coding agent, closed loop: each request follows the answer before by the
 * session's own pause. A request keeps what it shared with those before it, and adds the rest.
 */
export function codingSessions(rows: readonly Row[], count: number, seed: number): Agent[] {
  const random = seededRandom(seed)
  const bySession = Map.groupBy(
    rows.filter((row) => row.agent === 'main' && Number(row.output_tokens) > 0),
    (row) => row.client ?? '',
  )
  const long = [...bySession].filter(([, requests]) => isFresh(requests))
  const chosen = long.map((entry) => ({ entry, at: random() })).sort((a, b) => a.at - b.at)
  return chosen.slice(0, count).map(({ entry: [client, requests] }, index) => ({
    name: client,
    steps: () => conversation(client, requests, seed * 1000 + index),
  }))
}

/** A resumed session starts with its whole history, which takes a small limit minutes by itself. */
function isFresh(requests: readonly Row[]): boolean {
  return requests.length >= 30 && Number(requests[0]?.input_tokens) <= 40_000
}

/** Sessions start within twenty minutes; people's longer pauses are cut, to keep the line busy. */
const STARTS_WITHIN_MS = 20 * 60_000
const LONGEST_PAUSE_MS = 60_000

function* conversation(client: string, requests: readonly Row[], seed: number): Generator<Step> {
  const random = seededRandom(seed)
  let segments: Segment[] = []
  let isFirst = true
  for (const [index, row] of requests.entries()) {
    const inputTokens = Math.max(1, Number(row.input_tokens))
    segments = keep(segments, Math.min(Number(row.cached_prefix_tokens), inputTokens))
    const kept = segments.reduce((sum, { tokens }) => sum + tokens, 0)
    const added = Math.max(1, inputTokens - kept)
    const bytes = added * CONVERSATION_BYTES_PER_TOKEN * (1 - SCATTER + 2 * SCATTER * random())
    const key = `${client}/${index}`
    segments.push({ key, tokens: added, text: key.padEnd(Math.max(1, Math.round(bytes)), 'x') })
    const thinkMs = isFirst
      ? random() * STARTS_WITHIN_MS
      : Math.min(Number(row.think_ms) || 0, LONGEST_PAUSE_MS)
    isFirst = false
    const outputTokens = Number(row.output_tokens)
    yield {
      thinkMs,
      ask: {
        agent: client,
        maxTokens: 128_000,
        body: conversationBody(segments),
        work: {
          model: MODEL,
          inputTokens: kept + added,
          prefixes: prefixesOf(segments),
          outputTokens,
          ttftMs: TTFT_MS,
          tokensPerSecond: TOKENS_PER_SECOND,
        },
      },
    }
  }
}

/** The leading segments that lie wholly in so many tokens. */
function keep(segments: readonly Segment[], tokens: number): Segment[] {
  let left = tokens
  const kept: Segment[] = []
  for (const segment of segments) {
    left -= segment.tokens
    if (left < -64) break
    kept.push(segment)
  }
  return kept
}

function prefixesOf(segments: readonly Segment[]): CachedPrefix[] {
  let tokens = 0
  let key = ''
  return segments.map((segment, index) => {
    tokens += segment.tokens
    key = `${key}|${segment.key}`
    return { key, tokens, ttlMs: index === segments.length - 1 ? CACHE_MS : 0 }
  })
}

function conversationBody(segments: readonly Segment[]): Buffer {
  const messages = segments.map(({ text }, index) => ({
    role: index % 2 === 0 ? 'user' : 'assistant',
    content: [
      {
        type: 'text',
        text,
        ...(index === segments.length - 1 && { cache_control: { type: 'ephemeral' } }),
      },
    ],
  }))
  return Buffer.from(JSON.stringify({ model: MODEL, max_tokens: 128_000, stream: true, messages }))
}
