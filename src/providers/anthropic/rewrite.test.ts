import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { withModel } from './rewrite.ts'

const rewritten = (body: string, model: string) => withModel(Buffer.from(body), model)?.toString()

describe('a request for another model', () => {
  it('differs in the model alone, byte for byte', () => {
    const body = '{ "max_tokens":5,\n"model" : "claude-opus-4-5","messages":[{"model":"x"}] }'
    expect(rewritten(body, 'claude-haiku-4-5')).toBe(
      '{ "max_tokens":5,\n"model" : "claude-haiku-4-5","messages":[{"model":"x"}] }',
    )
  })

  it('names the other model however often, and in whatever spelling, the first was named', () => {
    const body = '{"model":"a","\\u006dodel":"b","model":null}'
    expect(rewritten(body, 'c')).toBe('{"model":"c","\\u006dodel":"c","model":"c"}')
  })

  it('is what a parser would make of it, whatever the body', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), (fields, model) => {
        const body = { ...fields, model: 'before' }
        const text = rewritten(JSON.stringify(body), model)
        expect(JSON.parse(text ?? '')).toEqual(JSON.parse(JSON.stringify({ ...body, model })))
      }),
    )
  })

  it.each(['', '[]', '{"model":', '{"a":1}', 'nonsense'])('is not made of %j', (body) => {
    expect(withModel(Buffer.from(body), 'm')).toBeNull()
  })
})
