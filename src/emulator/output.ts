// How long answers are and what they say. Must not know: when, or to whom.
import type { EmulatorSettings } from './settings.ts'

/** Each is one token to the tokenizer, so that an answer's text has as many tokens as it says. */
const WORDS =
  'the gate lets each one pass in turn and none who wait are left out so that what was slow can flow on like rain over dry land till all have had some'.split(
    ' ',
  )

/** Draws the length of an answer: log-normal, at least one token. */
export function drawOutputTokens(
  { medianTokens, sigma }: EmulatorSettings['output'],
  random: () => number,
): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.max(1, Math.round(medianTokens * Math.exp(sigma * normal)))
}

/** As much of an answer as `max_tokens` allows, and why it ends there. */
export function cutOutput(
  wantedTokens: number,
  maxTokens: number,
): { readonly outputTokens: number; readonly stopReason: 'end_turn' | 'max_tokens' } {
  return wantedTokens > maxTokens
    ? { outputTokens: maxTokens, stopReason: 'max_tokens' }
    : { outputTokens: wantedTokens, stopReason: 'end_turn' }
}

/** The text of an answer's tokens `from` up to `to`, counted from 0. */
export function outputText(from: number, to: number): string {
  let text = ''
  for (let index = from; index < to; index++) {
    text += (index === 0 ? '' : ' ') + WORDS[index % WORDS.length]
  }
  return text
}
