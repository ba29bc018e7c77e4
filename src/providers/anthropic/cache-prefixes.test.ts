import { expect, test } from 'vitest'
import type { PromptPrefix } from '../../core/prompt.ts'
import type { Operation } from '../provider.ts'
import { describe } from './describe.ts'

const MODEL: Operation = {
  pool: 'model',
  upstreamPath: '/v1/messages',
  body: 'read',
  maxBodyBytes: 32 * 1024 * 1024,
  isHarmless: false,
}
const FIVE_MINUTES_MS = 300_000
const HOUR_MS = 3_600_000

const EPHEMERAL = { cache_control: { type: 'ephemeral' } }
const HOUR = { cache_control: { type: 'ephemeral', ttl: '1h' } }

function prefixesOf(request: object): readonly PromptPrefix[] {
  return describe(MODEL, {}, Buffer.from(JSON.stringify(request))).prompt.prefixes
}
const keysOf = (request: object): string[] => prefixesOf(request).map(({ key }) => key)

const block = (text: string, marker: object = {}) => ({ type: 'text', text, ...marker })
const said = (text: string, marker: object = {}) => ({
  role: 'user',
  content: [block(text), block('.', marker)],
})
const TOOLS = [{ name: 'read', input_schema: { type: 'object' } }]
const SYSTEM = [block('Be brief.', EPHEMERAL)]
const request = (messages: object[], rest: object = {}) => ({
  model: 'm',
  tools: TOOLS,
  system: SYSTEM,
  messages,
  ...rest,
})

test('gives a prefix for the end of tools, of system and of each message', () => {
  const prefixes = prefixesOf(request([said('a'), said('b', HOUR), said('c')]))
  expect(prefixes.map(({ cacheForMs }) => cacheForMs)).toEqual([0, FIVE_MINUTES_MS, 0, HOUR_MS, 0])
  const sizes = prefixes.map(({ textBytes }) => textBytes)
  expect(sizes).toEqual([...sizes].sort((a, b) => a - b))
  expect(new Set(prefixes.map(({ key }) => key)).size).toBe(5)
})

test('gives none where nothing is to be cached', () => {
  expect(prefixesOf({ model: 'm', messages: [said('a')] })).toEqual([])
  const schema = { name: 't', input_schema: { properties: { cache_control: { type: 'object' } } } }
  expect(
    prefixesOf({ model: 'm', tools: [schema], messages: [said('"cache_control":{}')] }),
  ).toEqual([])
})

test('keys stay as a conversation grows and its breakpoint moves on', () => {
  const before = keysOf(request([said('a'), said('b', EPHEMERAL)]))
  const after = keysOf(request([said('a'), said('b'), said('c', EPHEMERAL)]))
  expect(after.slice(0, before.length)).toEqual(before)
})

test('keys stay when a breakpoint is written before other members, or in another layout', () => {
  const first = { role: 'user', content: [{ ...EPHEMERAL, ...block('a') }] }
  const last = { role: 'user', content: [{ ...block('a'), ...EPHEMERAL }, block('z')] }
  const plain = { role: 'user', content: [block('a'), block('z')] }
  const marked = [said('end', EPHEMERAL)]
  expect(keysOf(request([last, ...marked]))).toEqual(keysOf(request([plain, ...marked])))
  expect(keysOf(request([first, ...marked]))).toHaveLength(4)
  const indented = (messages: object[]) =>
    describe(MODEL, {}, Buffer.from(JSON.stringify(request(messages), null, 2))).prompt.prefixes
  const keys = indented([plain, ...marked]).map(({ key }) => key)
  expect(indented([last, ...marked]).map(({ key }) => key)).toEqual(keys)
})

test('takes a marked block for the plain string that it stands for', () => {
  const asString = { role: 'user', content: 'Hello "there"' }
  const asBlock = { role: 'user', content: [block('Hello "there"', EPHEMERAL)] }
  const [, , marked] = keysOf(request([asBlock]))
  const [, , plain] = keysOf(request([asString, said('next', EPHEMERAL)]))
  expect(marked).toBe(plain)
})

test("ignores Claude Code's attribution, which differs in each request", () => {
  const turn = (checksum: string) => {
    const attribution = block(`x-anthropic-billing-header: cc_version=2.1.330; cch=${checksum};`)
    return keysOf(request([said('a')], { system: [attribution, ...SYSTEM] }))
  }
  expect(turn('36ee5')).toEqual(turn('0aaa9'))
  expect(turn('36ee5')).not.toEqual(keysOf(request([said('a')])))
})

test.each([
  ['the model', { model: 'n' }],
  ['the speed', { speed: 'fast' }],
  ['a tool', { tools: [{ name: 'write' }] }],
])('another value of %s changes every key', (_, rest) => {
  const keys = new Set(keysOf(request([said('a')])))
  for (const key of keysOf(request([said('a')], rest))) expect(keys.has(key)).toBe(false)
})

test('another message changes the keys from there on', () => {
  const one = keysOf(request([said('a'), said('b'), said('c')]))
  const other = keysOf(request([said('a'), said('B'), said('c')]))
  expect(one.map((key, index) => key === other[index])).toEqual([true, true, true, false, false])
})

test('follows the order of the cache, not of the body', () => {
  const { model, tools, system, messages } = { ...request([said('a')]) }
  expect(keysOf({ messages, system, tools, model })).toEqual(
    keysOf({ model, tools, system, messages }),
  )
})

test("takes the request's own cache_control for the end of the prompt", () => {
  const prefixes = prefixesOf({ model: 'm', messages: [said('a'), said('b')], ...HOUR })
  expect(prefixes.map(({ cacheForMs }) => cacheForMs)).toEqual([0, HOUR_MS])
})

test('leaves payloads out of the text, in whichever part they are', () => {
  const image = {
    type: 'image',
    source: { type: 'base64', media_type: 'image/png', data: 'A'.repeat(4000) },
  }
  const messages = [{ role: 'user', content: [image] }, said('b', EPHEMERAL)]
  const { prompt } = describe(MODEL, {}, Buffer.from(JSON.stringify({ messages, system: 's' })))
  expect(prompt.prefixes.at(-1)?.textBytes).toBe(prompt.textBytes - ']'.length)
  expect(prompt.textBytes).toBeLessThan(1000)
  for (const { textBytes } of prompt.prefixes) expect(textBytes).toBeGreaterThan(0)
})

test('takes no longer for hostile layouts', () => {
  const gap = ' '.repeat(2_000_000)
  const nested = `${'{"cache_control":'.repeat(100_000)}1${'}'.repeat(100_000)}`
  const text = `{"messages":[{"a":1,${gap}"cache_control":${gap}{"type":"ephemeral"}},${nested}]}`
  const { prompt } = describe(MODEL, {}, Buffer.from(text))
  expect(prompt.prefixes.map(({ cacheForMs }) => cacheForMs)).toEqual([FIVE_MINUTES_MS, 0])
})
