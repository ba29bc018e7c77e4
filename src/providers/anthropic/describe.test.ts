import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Headers, Operation } from '../provider.ts'
import { describe } from './describe.ts'

const MODEL: Operation = {
  pool: 'model',
  upstreamPath: '/v1/messages',
  body: 'read',
  maxBodyBytes: 32 * 1024 * 1024,
  isHarmless: false,
}

const ofText = (text: string, headers: Headers = {}) => describe(MODEL, headers, Buffer.from(text))
const of = (request: object, headers: Headers = {}) => ofText(JSON.stringify(request), headers)
const sizeOf = (part: unknown): number => Buffer.byteLength(JSON.stringify(part))

const EMPTY = {
  model: null,
  limitGroup: 'unknown',
  stream: false,
  pricePercent: 100,
  prompt: {
    textBytes: 0,
    mediaBytes: 0,
    fixedTokens: 0,
    prefixes: [],
    maxOutputTokens: null,
    unseenTokens: 0,
    hidesOutput: false,
  },
  user: null,
  session: null,
}

test.each([
  [{}, 100],
  [{ inference_geo: 'us' }, 110],
  [{ inference_geo: 'eu' }, 100],
  [{ speed: 'fast' }, 200],
  [{ inference_geo: 'us', speed: 'fast' }, 220],
])('what %j asks for has its price', (more, pricePercent) => {
  expect(of({ model: 'claude-opus-4-8', ...more })).toMatchObject({ pricePercent })
})

test('says what a request says', () => {
  const system = 'Be brief.'
  const messages = [{ role: 'user', content: 'Grüße' }]
  expect(
    of({ model: 'claude-opus-4-8', max_tokens: 1024, stream: true, system, messages }),
  ).toEqual({
    model: 'claude-opus-4-8',
    limitGroup: 'claude-opus-4',
    stream: true,
    pricePercent: 100,
    prompt: {
      textBytes: sizeOf(system) + sizeOf(messages),
      mediaBytes: 0,
      fixedTokens: 0,
      prefixes: [],
      maxOutputTokens: 1024,
      unseenTokens: 0,
      hidesOutput: false,
    },
    user: null,
    session: null,
  })
})

test('reads a request in any layout, and repeated keys by their last value', () => {
  const text =
    ' {\n "stream" : true ,"mod\\u0065l":"a","messages":[1,2],\t"model": "b","stream":false ,"messages": [ ] }\r\n'
  expect(ofText(text)).toMatchObject({ model: 'b', stream: false, prompt: { textBytes: 3 } })
})

test('names fast mode a group of its own', () => {
  expect(of({ model: 'claude-opus-5', speed: 'fast' }).limitGroup).toBe('claude-opus-5-fast')
  expect(of({ model: 'claude-opus-5', speed: 'standard' }).limitGroup).toBe('claude-opus-5')
})

const field = fc.oneof(
  fc.constantFrom(true, false, null, 0, 1024, 'claude-opus-5', 'fast', '', [], {}),
  fc.jsonValue({ maxDepth: 4 }),
)
const request = fc
  .array(
    fc.tuple(
      fc.oneof(
        fc.constantFrom(
          'model',
          'stream',
          'max_tokens',
          'tools',
          'system',
          'messages',
          'temperature',
        ),
        fc.string(),
      ),
      field,
    ),
    { maxLength: 10 },
  )
  // Written by hand, since an object could not hold a key twice.
  .map(
    (members) =>
      `{${members.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`)}}`,
  )

test('agrees with a parser on every request', () => {
  fc.assert(
    fc.property(request, (text) => {
      const parsed: Record<string, unknown> = JSON.parse(text)
      const own = (key: string): unknown => (Object.hasOwn(parsed, key) ? parsed[key] : undefined)
      const { model, stream, prompt } = ofText(text)
      const textOf = (part: unknown): number =>
        typeof part === 'string' || (typeof part === 'object' && part !== null) ? sizeOf(part) : 0
      const count = own('max_tokens')
      expect(model).toBe(typeof own('model') === 'string' ? own('model') : null)
      expect(stream).toBe(own('stream') === true)
      expect(prompt.textBytes).toBe(
        textOf(own('tools')) + textOf(own('system')) + textOf(own('messages')),
      )
      if (typeof count !== 'number') expect(prompt.maxOutputTokens).toBeNull()
      else if (/^\d{1,15}$/.test(String(count))) expect(prompt.maxOutputTokens).toBe(count)
    }),
    { numRuns: 1000 },
  )
})

test('describes any bytes', () => {
  const soup = fc
    .array(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        '"',
        ':',
        ',',
        '\\',
        '"messages"',
        '"cache_control"',
        '{"type":"ephemeral"}',
        '"data"',
        '"base64"',
        '"system"',
        '1',
        ' ',
      ),
    )
    .map((pieces) => Buffer.from(`{${pieces.join('')}`))
  fc.assert(
    fc.property(fc.oneof(soup, fc.uint8Array()), (bytes) => {
      const { prompt } = describe(MODEL, {}, Buffer.from(bytes))
      expect(prompt.textBytes).toBeGreaterThanOrEqual(0)
      expect(prompt.fixedTokens).toBeGreaterThanOrEqual(0)
    }),
    { numRuns: 2000 },
  )
})

test.each([
  '',
  'hello',
  '[]',
  '"text"',
  '{"model":"m"',
  '{"model":"m"} x',
  '{"model":"m",}',
  '{"model"}',
])('describes %j, which is no JSON object, as empty', (text) => {
  expect(ofText(text)).toEqual(EMPTY)
})

test('describes a request without a body, or nested beyond reason, in peace', () => {
  expect(describe(MODEL, {}, null)).toEqual(EMPTY)
  const depth = 2_000_000
  const bomb = `{"model":"m","messages":${'['.repeat(depth)}${']'.repeat(depth)}}`
  expect(ofText(bomb).prompt.textBytes).toBe(2 * depth)
  expect(ofText(`{"model":"m","messages":${'['.repeat(depth)}`)).toEqual(EMPTY)
})

test('unpacks gzip, and knows nothing of what it cannot unpack', () => {
  const gzip = { 'content-encoding': 'gzip' }
  const json = Buffer.from('{"model":"claude-opus-5"}')
  expect(describe(MODEL, gzip, gzipSync(json)).model).toBe('claude-opus-5')
  expect(describe(MODEL, gzip, json)).toEqual(EMPTY)
  expect(describe(MODEL, { 'content-encoding': 'br' }, json)).toEqual(EMPTY)
  const tooLarge = gzipSync(Buffer.from(`{"model":"${' '.repeat(5000)}"}`))
  expect(describe({ ...MODEL, maxBodyBytes: 4096 }, gzip, tooLarge)).toEqual(EMPTY)
})

test('charges no prompt to the pools that run no model', () => {
  const body = Buffer.from('{"model":"claude-opus-5","messages":[{"role":"user","content":"hi"}]}')
  const description = describe({ ...MODEL, pool: 'count_tokens' }, {}, body)
  expect(description).toMatchObject({ model: 'claude-opus-5', limitGroup: 'count_tokens' })
  expect(description.prompt).toEqual({
    textBytes: 0,
    mediaBytes: 0,
    fixedTokens: 0,
    prefixes: [],
    maxOutputTokens: 0,
    unseenTokens: 0,
    hidesOutput: false,
  })
  expect(describe({ ...MODEL, pool: 'batches' }, {}, null).limitGroup).toBe('batches')
})

test('tells of documents that lie elsewhere, and of thinking that a stream may not show', () => {
  const source = (type: string, more: object) => ({ type: 'document', source: { type, ...more } })
  const promptOf = (content: object[], more: object = {}) =>
    of({ model: 'm', messages: [{ role: 'user', content }], ...more }).prompt
  expect(promptOf([source('url', { url: 'https://a/b.pdf' })]).unseenTokens).toBe(300_000)
  expect(promptOf([source('file', { file_id: 'f' })]).unseenTokens).toBe(300_000)
  const inline = source('base64', { media_type: 'application/pdf', data: 'JVBERi0' })
  expect(promptOf([inline, inline]).unseenTokens).toBe(0)
  expect(promptOf([{ type: 'text', text: 'document' }]).unseenTokens).toBe(0)
  const thinking = { thinking: { type: 'enabled', budget_tokens: 30_000 } }
  expect(promptOf([], thinking).hidesOutput).toBe(true)
})

test('reads a text completion as a prompt and its longest answer', () => {
  const { prompt } = of({ model: 'm', prompt: 'x'.repeat(500), max_tokens_to_sample: 6.4e1 })
  expect(prompt).toMatchObject({ textBytes: 502, maxOutputTokens: 64 })
})

const SESSION = '8a2b6d1e-1111-4000-8000-000000000000'

test.each([
  [{ 'x-claude-code-session-id': SESSION }, undefined, SESSION],
  [{}, JSON.stringify({ device_id: 'd', account_uuid: '', session_id: SESSION }), SESSION],
  [{}, `user_${'a'.repeat(64)}_account__session_${SESSION}`, SESSION],
  [{}, 'customer-17', null],
  [{}, '{"session_id":7}', null],
  [{}, '{broken', null],
  [{}, undefined, null],
  [{ 'x-claude-code-session-id': 'x'.repeat(129) }, undefined, null],
])('finds the session in %j and user id %j', (headers, userId, session) => {
  expect(of({ metadata: { user_id: userId } }, headers).session).toBe(session)
})

const image = (data: string, mediaType = 'image/png'): object => ({
  type: 'image',
  source: { type: 'base64', media_type: mediaType, data },
})
const asking = (...content: object[]): object => ({ messages: [{ role: 'user', content }] })

function png(width: number, height: number): string {
  const header = Buffer.alloc(3000)
  header.write('\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR', 'latin1')
  header.writeUInt32BE(width, 16)
  header.writeUInt32BE(height, 20)
  return header.toString('base64')
}

function jpeg(width: number, height: number): string {
  const exif = Buffer.concat([Buffer.from([0xff, 0xe1, 0x04, 0x02]), Buffer.alloc(0x400)])
  const frame = Buffer.from([
    0xff,
    0xc0,
    0,
    17,
    8,
    height >> 8,
    height & 255,
    width >> 8,
    width & 255,
  ])
  return Buffer.concat([Buffer.from([0xff, 0xd8]), exif, frame, Buffer.alloc(500)]).toString(
    'base64',
  )
}

// Examples of Anthropic's "Vision" page.
test.each([
  ['a PNG', image(png(1000, 1000)), 1296],
  ['a larger PNG', image(png(1920, 1080)), 2691],
  ['an enormous PNG', image(png(8000, 8000)), 4784],
  ['a JPEG', image(jpeg(1092, 1092), 'image/jpeg'), 1521],
  ['an image of unknown size', image('AAAA'.repeat(100), 'image/webp'), 1600],
  [
    'an image behind a URL',
    { type: 'image', source: { type: 'url', url: 'https://x.example/y.png' } },
    1600,
  ],
  [
    'a PDF',
    {
      type: 'document',
      source: { type: 'base64', media_type: 'application/pdf', data: 'A'.repeat(22_000) },
    },
    1000,
  ],
])('knows the tokens of %s', (_, block, tokens) => {
  expect(of(asking(block)).prompt.fixedTokens).toBe(tokens)
})

test('counts no payload as text, whatever the order of its keys', () => {
  const data = png(100, 100)
  const reversed = { source: { data, media_type: 'image/png', type: 'base64' }, type: 'image' }
  const { prompt } = of(asking(image(data), reversed, { type: 'text', text: 'What is it?' }))
  const withoutData = sizeOf([
    { role: 'user', content: [image(''), image(''), { type: 'text', text: 'What is it?' }] },
  ])
  expect(prompt.textBytes).toBe(withoutData)
  expect(prompt.fixedTokens).toBe(32)
})

test('counts a plain text document, and talk of images, as text', () => {
  const plain = {
    type: 'document',
    source: { type: 'text', media_type: 'text/plain', data: 'A'.repeat(500) },
  }
  const talk = { type: 'text', text: JSON.stringify(image('AAAA'.repeat(200))) }
  const { prompt } = of(asking(plain, talk))
  expect(prompt.textBytes).toBe(sizeOf([{ role: 'user', content: [plain, talk] }]))
  expect(prompt.fixedTokens).toBe(0)
})

test('adds the hidden prompt where there are tools', () => {
  expect(of({ tools: [{ name: 'read' }] }).prompt.fixedTokens).toBe(500)
  expect(ofText('{"tools":[ ]}').prompt.fixedTokens).toBe(0)
})
