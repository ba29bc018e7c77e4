// POST /v1/messages: from a body to an answer under way, or to a refusal. Must not know: routing.

import { Answer, type AnswerPlan } from './answer.ts'
import { FAULT_ERRORS, rateLimitError } from './api-error.ts'
import type { Account } from './emulated-provider.ts'
import type { Exchange } from './exchange.ts'
import { type AnswerFault, type DoorFault, isBatchFault, isDoorFault } from './faults.ts'
import type { Pace } from './generation.ts'
import { type Marker, readMarker } from './marker.ts'
import { messagesBody } from './messages-request.ts'
import { modelClassOf } from './model-class.ts'
import { cutOutput, drawOutputTokens } from './output.ts'
import { readPrompt } from './prompt-reader.ts'
import { readJson } from './request-body.ts'
import type { World } from './world.ts'

export async function answerMessages(
  world: World,
  exchange: Exchange,
  account: Account,
): Promise<void> {
  const read = await readJson(exchange.request, messagesBody)
  if (read.kind === 'failed') return exchange.error(read.error)
  const { text, value: body } = read.value
  if (modelClassOf(body.model) === null) {
    return exchange.error({ type: 'not_found_error', message: `model: ${body.model}` })
  }
  const marker = readMarker(text)
  const fault = faultOf(marker, world)
  if (fault !== null && isDoorFault(fault)) return strike(fault, world, exchange, account)
  const { provider } = world
  const { tokens, prefixes } = readPrompt(body)
  const admission = provider.admit({
    ...account,
    model: body.model,
    promptTokens: tokens,
    prefixes,
  })
  const limitHeaders = () => provider.modelHeaders(account, body.model)
  if (admission.kind === 'refused') {
    return exchange.error(rateLimitError(admission, account.organization), limitHeaders())
  }
  const answer = new Answer({
    exchange,
    call: admission.call,
    head: {
      id: `msg_01${world.newId()}`,
      model: body.model,
      usage: admission.call.usage,
      serviceTier: 'standard',
    },
    plan: planAnswer(marker, fault, body.max_tokens, world),
    isStream: body.stream ?? false,
    limitHeaders,
  })
  answer.start(world.clock, paceOf(world))
}

function faultOf({ fault }: Marker, world: World): DoorFault | AnswerFault | null {
  if (fault === 'none') return null
  return fault === null || isBatchFault(fault) ? world.faults.draw() : fault
}

function strike(fault: DoorFault, world: World, exchange: Exchange, { key }: Account): void {
  world.provider.tally.add(key, 'requests')
  world.provider.tally.add(key, fault === 'overload' ? 'overloaded' : 'failed')
  if (fault === 'connection-reset') exchange.reset()
  else exchange.error(FAULT_ERRORS[fault])
}

function planAnswer(
  marker: Marker,
  fault: AnswerFault | null,
  maxTokens: number,
  { settings, random }: World,
): AnswerPlan {
  const wanted = marker.outputTokens ?? drawOutputTokens(settings.output, random)
  const { outputTokens, stopReason } = cutOutput(wanted, maxTokens)
  if (fault !== 'reset-mid-stream' && fault !== 'stream-error') {
    return { outputTokens, stopReason, fault }
  }
  return { outputTokens: Math.floor(outputTokens * random()), stopReason, fault }
}

function paceOf({ settings, faults }: World): Pace {
  const speed = settings.timeScale / faults.settings.slowFactor
  return {
    ttftMs: settings.ttftMs / speed,
    tokensPerSecond: settings.tokensPerSecond * speed,
  }
}
