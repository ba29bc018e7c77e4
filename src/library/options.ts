// What a program may write to have a gate. Owns: its options. Must not know: what is made of them.
import type { Clock } from '../core/clock.ts'
import type { GateEvents } from '../engine/program-events.ts'

export interface GateOptions {
  /** What `${NAME}` in the configuration stands for. @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** @default the machine's */
  readonly clock?: Clock
  /** From 0 up to 1: spreads what would otherwise happen at once. @default Math.random */
  readonly random?: () => number
  /** @default process warnings for what somebody should know of */
  readonly events?: Partial<GateEvents>
}
