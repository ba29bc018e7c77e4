// What a call asks for at present: the model, the bytes that say so, and the resource that it draws on.
// Owns: turning it to another model. Must not know: when that is done, or the line.
import type { Readable } from 'node:stream'
import type { Identity, Subject } from '../policy/subject.ts'
import { isName } from '../policy/values.ts'
import type { Description, Headers } from '../providers/provider.ts'
import type { CallContext, CallResource } from './call-context.ts'
import { routeOf } from './call-policy.ts'
import type { CallRequest } from './caller.ts'

/** Why a call asks for another model than its caller did. */
export type AimReason = 'tier' | 'wait' | 'budget'

/** All that changes with the model. */
export interface Present {
  readonly description: Description
  readonly body: Buffer | Readable | null
  readonly forwardHeaders: readonly string[]
  readonly resource: CallResource
  /** Null while the call asks for what its caller asked for. */
  readonly aimedBy: AimReason | null
}

export class CallTarget {
  present: Present
  readonly #context: CallContext
  readonly #request: CallRequest

  constructor(context: CallContext, request: CallRequest) {
    const { body, forwardHeaders, headers } = request
    this.#context = context
    this.#request = request
    this.present = this.#at(body, forwardHeaders, headers, null)
  }

  /** Who is calling, the body's word taken where it is believed and nothing else names a user. */
  identity(): Identity {
    const { identity, believesBody } = this.#request
    const { user } = this.present.description
    // What is no name charges nobody else's account either.
    const isNamed = identity.user === null && believesBody && user !== null && isName(user)
    return isNamed ? { ...identity, user } : identity
  }

  /** Takes the model that a tier puts in the place of the one asked for. */
  route(subject: Subject): void {
    const { model } = this.present.description
    const isModelRun = this.#request.operation.pool === 'model'
    const route = isModelRun && model !== null ? routeOf(subject, model) : null
    if (route !== null) this.aim(route, 'tier')
  }

  /** Turns the call to another model. False where its body cannot be rewritten: nothing has changed. */
  aim(model: string, reason: AimReason): boolean {
    const { provider, headers, body: original, forwardHeaders } = this.#request
    const body = Buffer.isBuffer(original) ? provider.withModel(original, headers, model) : null
    if (!body) return false
    const plain = { ...headers, 'content-encoding': undefined }
    this.present = this.#at(body, withoutEncoding(forwardHeaders), plain, reason)
    return true
  }

  #at(
    body: Present['body'],
    forwardHeaders: readonly string[],
    headers: Headers,
    aimedBy: AimReason | null,
  ): Present {
    const { provider, operation } = this.#request
    const described = Buffer.isBuffer(body) ? body : null
    const description = provider.describe(operation, headers, described)
    const resource = this.#context.resourceOf(provider, headers, description.limitGroup)
    return { description, body, forwardHeaders, resource, aimedBy }
  }
}

/** A rewritten body is not packed. */
function withoutEncoding(headers: readonly string[]): readonly string[] {
  const kept: string[] = []
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? ''
    if (name.toLowerCase() !== 'content-encoding') kept.push(name, headers[index + 1] ?? '')
  }
  return kept
}
