import { describe, expect, test } from 'vitest'
import type { Usage } from '../core/prompt.ts'
import { PrefixMemory, type ScopedPrompt } from './prefix-memory.ts'

const FIVE_MINUTES_MS = 300_000
const BYTES_PER_TOKEN = 3

const build = () => new PrefixMemory({ maxScopes: 10, maxPrefixes: 50 })

interface Part {
  readonly key: string
  /** Tokens from the prompt's start. */
  readonly tokens: number
  readonly cacheForMs?: number
}

/** A prompt that ends with its last part; parts without `cacheForMs` are breakpoints for 5 minutes. */
function call(parts: readonly Part[], scope = 'org/model'): ScopedPrompt {
  const prefixes = parts.map(({ key, tokens, cacheForMs = FIVE_MINUTES_MS }) => ({
    key,
    textBytes: tokens * BYTES_PER_TOKEN,
    cacheForMs,
  }))
  const textBytes = prefixes.at(-1)?.textBytes ?? 0
  const nothingMore = { mediaBytes: 0, maxOutputTokens: null, unseenTokens: 0, hidesOutput: false }
  return { scope, prompt: { textBytes, fixedTokens: 0, prefixes, ...nothingMore } }
}

function usage(cacheReadTokens: number, cacheWriteTokens: number, inputTokens = 0): Usage {
  return {
    inputTokens,
    cacheReadTokens,
    cacheWriteTokens,
    cacheWriteHourTokens: 0,
    outputTokens: 1,
  }
}

/** Sends a call and lets it begin at once, as the provider would answer it. */
function answer(memory: PrefixMemory, asked: ScopedPrompt, reported: Usage, now: number): void {
  const forecast = memory.forecast(asked, now)
  memory.sent(asked, now)
  memory.began(asked, forecast, reported, now)
}

const SYSTEM = { key: 'system', tokens: 5000 }
const TURN_1 = { key: 'turn 1', tokens: 6000 }
const TURN_2 = { key: 'turn 2', tokens: 8000 }

describe('PrefixMemory', () => {
  test('forecasts the longest prefix that an answer has written', () => {
    const memory = build()
    answer(memory, call([SYSTEM, TURN_1]), usage(0, 6000), 0)
    expect(memory.forecast(call([SYSTEM, TURN_1, TURN_2]), 1).cachedTokens).toBe(6000)
    expect(memory.forecast(call([SYSTEM, { key: 'other', tokens: 9000 }]), 1).cachedTokens).toBe(
      5000,
    )
  })

  test('makes nothing readable before the writer has begun', () => {
    const memory = build()
    const leader = call([SYSTEM])
    memory.sent(leader, 0)
    expect(memory.forecast(call([SYSTEM]), 1).hit).toBeNull()
    memory.began(leader, memory.forecast(leader, 0), usage(0, 5000), 2)
    expect(memory.forecast(call([SYSTEM]), 3).cachedTokens).toBe(5000)
  })

  test('makes nothing readable that the answer does not report as cached', () => {
    const memory = build()
    answer(memory, call([SYSTEM]), usage(0, 0, 5000), 0)
    expect(memory.forecast(call([SYSTEM]), 1).hit).toBeNull()
  })

  test('stores prefixes at breakpoints only', () => {
    const memory = build()
    answer(memory, call([{ ...SYSTEM, cacheForMs: 0 }, TURN_1]), usage(0, 6000), 0)
    expect(memory.forecast(call([SYSTEM]), 1).known).toBeNull()
  })

  test('stores no prefix too short for a cache', () => {
    const memory = build()
    answer(memory, call([{ key: 'short', tokens: 500 }, SYSTEM]), usage(0, 5000), 0)
    expect(memory.forecast(call([{ key: 'short', tokens: 500 }]), 1).known).toBeNull()
  })

  test('keeps scopes apart', () => {
    const memory = build()
    answer(memory, call([SYSTEM], 'org 1/model'), usage(0, 5000), 0)
    expect(memory.forecast(call([SYSTEM], 'org 2/model'), 1).known).toBeNull()
  })

  test('lets an entry expire, remembers its tokens, and counts its time anew from each use', () => {
    const memory = build()
    answer(memory, call([SYSTEM]), usage(0, 5000), 0)
    answer(memory, call([SYSTEM]), usage(5000, 0), FIVE_MINUTES_MS - 1)
    expect(memory.forecast(call([SYSTEM]), 2 * FIVE_MINUTES_MS - 2).cachedTokens).toBe(5000)
    const late = memory.forecast(call([SYSTEM]), 2 * FIVE_MINUTES_MS)
    expect(late.cachedTokens).toBe(0)
    expect(late.known?.tokens).toBe(5000)
  })

  test('refreshes an entry that is read at a boundary without a breakpoint', () => {
    const memory = build()
    answer(memory, call([SYSTEM]), usage(0, 5000), 0)
    const longer = call([{ ...SYSTEM, cacheForMs: 0 }, TURN_1])
    answer(memory, longer, usage(5000, 1000), FIVE_MINUTES_MS - 1)
    expect(memory.forecast(call([SYSTEM]), FIVE_MINUTES_MS + 1).cachedTokens).toBe(5000)
  })

  test('keeps an entry for the hour that it was asked for', () => {
    const memory = build()
    answer(memory, call([{ ...SYSTEM, cacheForMs: 3_600_000 }]), usage(0, 5000), 0)
    expect(memory.forecast(call([SYSTEM]), 3_599_999).cachedTokens).toBe(5000)
  })

  test('looks back twenty boundaries from a breakpoint and no further', () => {
    const memory = build()
    answer(memory, call([SYSTEM]), usage(0, 5000), 0)
    const withBoundaries = (boundaries: number) =>
      call([
        { ...SYSTEM, cacheForMs: 0 },
        ...Array.from({ length: boundaries }, (_, index) => ({
          key: `block ${index}`,
          tokens: 5010 + index,
          cacheForMs: index === boundaries - 1 ? FIVE_MINUTES_MS : 0,
        })),
      ])
    expect(memory.forecast(withBoundaries(20), 1).cachedTokens).toBe(5000)
    expect(memory.forecast(withBoundaries(21), 1).cachedTokens).toBe(0)
    expect(memory.forecast(withBoundaries(21), 1).known?.tokens).toBe(5000)
  })

  test('learns from the report how many tokens a prefix has', () => {
    const memory = build()
    answer(memory, call([SYSTEM, TURN_1]), usage(0, 6600), 0)
    expect(memory.forecast(call([SYSTEM]), 1).known).toMatchObject({ tokens: 5500, isExact: false })
    answer(memory, call([SYSTEM]), usage(5300, 0), 2)
    expect(memory.forecast(call([SYSTEM]), 3).known).toMatchObject({ tokens: 5300, isExact: true })
    expect(memory.forecast(call([SYSTEM, TURN_1]), 3).known).toMatchObject({ tokens: 6600 })
  })

  test('learns the tokens of a prefix that is read at a boundary without a breakpoint', () => {
    const memory = build()
    answer(memory, call([SYSTEM, TURN_1]), usage(0, 6600), 0)
    const other = call([
      { ...SYSTEM, cacheForMs: 0 },
      { key: 'other', tokens: 7000 },
    ])
    answer(memory, other, usage(5300, 2000), 1)
    expect(memory.forecast(call([SYSTEM]), 2).known).toMatchObject({ tokens: 5300, isExact: true })
  })

  test('stops counting on an entry that the provider has dropped', () => {
    const memory = build()
    answer(memory, call([SYSTEM, TURN_1]), usage(0, 6000), 0)
    const unlike = call([SYSTEM, { ...TURN_1, cacheForMs: 0 }, TURN_2])
    answer(memory, unlike, usage(5000, 3000), 1)
    const stale = memory.forecast(call([SYSTEM, TURN_1]), 2)
    expect(stale.cachedTokens).toBe(5000)
  })

  test('counts on less where its forecasts keep failing, and on all again once they hold', () => {
    const memory = build()
    answer(memory, call([SYSTEM]), usage(0, 5000), 0)
    for (let now = 1; now <= 10; now++) answer(memory, call([SYSTEM]), usage(0, 5000), now)
    const distrusted = memory.forecast(call([SYSTEM]), 11).cachedTokens
    expect(distrusted).toBeLessThan(2000)
    expect(distrusted).toBeGreaterThan(0)
    for (let now = 11; now <= 31; now++) answer(memory, call([SYSTEM]), usage(5000, 0), now)
    expect(memory.forecast(call([SYSTEM]), 32).cachedTokens).toBe(5000)
  })

  test('holds no more prefixes than it may', () => {
    const memory = build()
    for (let index = 0; index < 60; index++) {
      answer(memory, call([{ key: `${index}`, tokens: 5000 }]), usage(0, 5000), index)
    }
    expect(memory.forecast(call([{ key: '0', tokens: 5000 }]), 61).known).toBeNull()
    expect(memory.forecast(call([{ key: '59', tokens: 5000 }]), 61).known).not.toBeNull()
  })
})

describe('a pending leader', () => {
  test('is named to its siblings until it begins', () => {
    const memory = build()
    const leader = call([SYSTEM, { key: 'leader', tokens: 5100 }])
    const sibling = call([SYSTEM, { key: 'sibling', tokens: 5200 }])
    expect(memory.pendingLeader(sibling, 0)).toBeNull()
    memory.sent(leader, 0)
    expect(memory.pendingLeader(sibling, 1)).toBe('system')
    memory.began(leader, memory.forecast(leader, 1), usage(0, 5100), 2)
    expect(memory.pendingLeader(sibling, 3)).toBeNull()
    expect(memory.forecast(sibling, 3).cachedTokens).toBe(5000)
  })

  test('is not named to itself', () => {
    const memory = build()
    const leader = call([SYSTEM])
    memory.sent(leader, 0)
    expect(memory.pendingLeader(leader, 1)).toBeNull()
  })

  test('frees its siblings when it fails, and the next one leads', () => {
    const memory = build()
    const [first, second, third] = [call([SYSTEM]), call([SYSTEM]), call([SYSTEM])]
    memory.sent(first, 0)
    memory.failed(first)
    expect(memory.pendingLeader(second, 1)).toBeNull()
    memory.sent(second, 1)
    memory.failed(first)
    expect(memory.pendingLeader(third, 2)).toBe('system')
  })

  test('stays the leader when a sibling that did not wait fails', () => {
    const memory = build()
    const [leader, impatient, third] = [call([SYSTEM]), call([SYSTEM]), call([SYSTEM])]
    memory.sent(leader, 0)
    memory.sent(impatient, 1)
    memory.failed(impatient)
    expect(memory.pendingLeader(third, 2)).toBe('system')
  })

  test('holds nobody back for more than a minute', () => {
    const memory = build()
    memory.sent(call([SYSTEM]), 0)
    expect(memory.pendingLeader(call([SYSTEM]), 59_999)).toBe('system')
    expect(memory.pendingLeader(call([SYSTEM]), 60_000)).toBeNull()
  })

  test('is not worth waiting for when most is readable already', () => {
    const memory = build()
    answer(memory, call([SYSTEM]), usage(0, 5000), 0)
    const little = { key: 'a little more', tokens: 5500 }
    memory.sent(call([SYSTEM, little]), 1)
    expect(memory.pendingLeader(call([SYSTEM, little]), 2)).toBeNull()
    memory.sent(call([SYSTEM, TURN_2]), 1)
    expect(memory.pendingLeader(call([SYSTEM, TURN_2]), 2)).toBe('turn 2')
  })

  test('is not seen in a prompt too short for this cache, once an answer has shown that', () => {
    const memory = build()
    const short = { key: 'short', tokens: 2000 }
    memory.sent(call([short]), 0)
    expect(memory.pendingLeader(call([short]), 1)).toBe('short')
    answer(memory, call([{ key: 'longer', tokens: 3000 }]), usage(0, 0, 3000), 2)
    memory.sent(call([{ ...short, key: 'other' }]), 3)
    expect(memory.pendingLeader(call([{ ...short, key: 'other' }]), 4)).toBeNull()
  })

  test('is seen in short prompts again once the cache has taken one', () => {
    const memory = build()
    answer(memory, call([{ key: 'not cached', tokens: 9000 }]), usage(0, 0, 9000), 0)
    answer(memory, call([{ key: 'cached', tokens: 2000 }]), usage(0, 2000), 1)
    memory.sent(call([{ key: 'short', tokens: 2000 }]), 2)
    expect(memory.pendingLeader(call([{ key: 'short', tokens: 2000 }]), 3)).toBe('short')
  })
})
