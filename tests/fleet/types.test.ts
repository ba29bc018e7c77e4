// What programs may hand in compiles: the types of the SDK among it.
import type Anthropic from '@anthropic-ai/sdk'
import { expectTypeOf, it } from 'vitest'
import type { PayloadInput } from '../../src/fleet/fleet.ts'

it('takes requests as the SDK and its batches have them', () => {
  expectTypeOf<Anthropic.MessageCreateParamsNonStreaming>().toExtend<PayloadInput>()
  expectTypeOf<Anthropic.Messages.BatchCreateParams.Request>().toExtend<PayloadInput>()
  expectTypeOf<{
    model: string
    max_tokens: number
    messages: []
    system: string
  }>().toExtend<PayloadInput>()
})
