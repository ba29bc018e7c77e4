// A request for one model, turned into the same request for another. Must not know: why.
import { NOT_JSON, type Span, skipValue, skipWhitespace, walkMembers } from '../json-scan.ts'

/** The body with another model, every other byte as it was. Null where it is no JSON object with a model. */
export function withModel(body: Buffer, model: string): Buffer | null {
  const spans: Span[] = []
  const end = walkMembers(body, skipWhitespace(body, 0), ['model'], (key, valueAt) => {
    const valueEnd = skipValue(body, valueAt)
    if (key && valueEnd !== NOT_JSON) spans.push({ start: valueAt, end: valueEnd })
    return valueEnd
  })
  if (end === NOT_JSON || spans.length === 0) return null
  const name = Buffer.from(JSON.stringify(model))
  const parts: Buffer[] = []
  let from = 0
  // A parser may take the first of several or the last: none of them may name the old model.
  for (const span of spans) {
    parts.push(body.subarray(from, span.start), name)
    from = span.end
  }
  return Buffer.concat([...parts, body.subarray(from)])
}
