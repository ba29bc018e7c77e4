// All payloads of a job, by the limits that their models share. Owns: which group one belongs to. Must not know: when
// any is begun.
import { AT_FIRST } from './in-flight.ts'
import { ModelGroup } from './model-group.ts'
import type { RunParts } from './run-parts.ts'

/** Callers choose the names of models: those beyond so many groups share the last one. */
const MOST_GROUPS = 16

export class ModelGroups {
  readonly #parts: RunParts
  readonly #groups = new Map<string | null, ModelGroup>()

  constructor(parts: RunParts) {
    this.#parts = parts
  }

  get all(): readonly ModelGroup[] {
    return [...this.#groups.values()]
  }

  /** How many may be under way together. */
  get most(): number {
    return this.all.reduce((sum, { most }) => sum + most, 0) || AT_FIRST.chosen
  }

  /** Whether something new may find room. */
  get hasRoom(): boolean {
    return this.#groups.size === 0 || this.all.some(({ hasRoom }) => hasRoom)
  }

  /** Whether no payload is without a result. */
  get isIdle(): boolean {
    return this.all.every(({ carrier }) => carrier.open === 0)
  }

  /** A number that somebody has set is for all models together. */
  of(limitGroup: string): ModelGroup {
    const isOne = this.#parts.options.maxInFlight !== null
    const isNew = !this.#groups.has(limitGroup)
    const name = isOne || (isNew && this.#groups.size >= MOST_GROUPS) ? null : limitGroup
    const group = this.#groups.get(name) ?? new ModelGroup(name, this.#parts)
    this.#groups.set(name, group)
    return group
  }
}
