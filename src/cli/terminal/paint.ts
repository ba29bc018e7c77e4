// Colours. Owns: when there are any. Must not know: what is painted.
import { styleText } from 'node:util'
import type { Io, Output } from '../io.ts'

export type Format = Parameters<typeof styleText>[0]

export type Paint = (format: Format, text: string) => string

export const unpainted: Paint = (_, text) => text

const painted: Paint = (format, text) => styleText(format, text, { validateStream: false })

/** Colours on a terminal that has them, unless `NO_COLOR` says no or `FORCE_COLOR` says yes. */
export function paintFor(output: Output, env: Io['env']): Paint {
  if (env.NO_COLOR) return unpainted
  if (env.FORCE_COLOR) return env.FORCE_COLOR === '0' ? unpainted : painted
  return output.isTTY && env.TERM !== 'dumb' ? painted : unpainted
}
