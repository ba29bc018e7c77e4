// Priority classes. Must not know: how they are served (fair-queue.ts).

/** Highest first: a lane is served before all that follow it. */
export const LANES = ['critical', 'high', 'normal', 'low'] as const

export type Lane = (typeof LANES)[number]

export const DEFAULT_LANE: Lane = 'normal'

export function parseLane(text: string): Lane | null {
  return LANES.find((lane) => lane === text) ?? null
}
