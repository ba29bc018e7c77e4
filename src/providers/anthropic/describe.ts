// What a request says of itself, put together. Must not know: how any of it is charged.
import { gunzipSync } from 'node:zlib'
import type { PromptShape } from '../../core/prompt.ts'
import { headerText } from '../headers.ts'
import type { Description, Headers, Operation } from '../provider.ts'
import { type Outline, outlineOf } from './body.ts'
import { limitGroupOf } from './limit-group.ts'
import { pricePercentOf } from './price-terms.ts'
import { NO_PROMPT, promptShape } from './prompt.ts'
import { sessionOf, userOf } from './session.ts'

/** Other pools run no model on what they are sent: nothing is read and nothing produced. */
const NOTHING_RUN: PromptShape = { ...NO_PROMPT, maxOutputTokens: 0 }

export function describe(operation: Operation, headers: Headers, body: Buffer | null): Description {
  const json = body && decoded(body, headers, operation.maxBodyBytes)
  const outline = json && outlineOf(json)
  const isModelRun = operation.pool === 'model'
  const model = outline?.model ?? null
  return {
    model,
    limitGroup: isModelRun ? limitGroupOf(model, outline?.isFast ?? false) : operation.pool,
    stream: outline?.isStream ?? false,
    pricePercent: pricePercentOf({
      geo: outline?.geo ?? null,
      speed: outline?.isFast ? 'fast' : null,
    }),
    prompt: isModelRun ? promptOf(json, outline) : NOTHING_RUN,
    user: userOf(outline?.userId ?? null),
    session: sessionOf(headers, outline?.userId ?? null),
  }
}

function promptOf(json: Buffer | null, outline: Outline | null): PromptShape {
  return json && outline ? promptShape(json, outline) : NO_PROMPT
}

/** The body's JSON, or null where it is packed in a way that is not known or not sound. */
export function decoded(body: Buffer, headers: Headers, mostBytes: number): Buffer | null {
  const encoding = headerText(headers, 'content-encoding')?.toLowerCase() ?? 'identity'
  if (encoding === 'identity') return body
  if (encoding !== 'gzip' && encoding !== 'x-gzip') return null
  try {
    return gunzipSync(body, { maxOutputLength: mostBytes })
  } catch {
    return null
  }
}
