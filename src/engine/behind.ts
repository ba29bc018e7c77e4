// Which engine stands behind a gate that a program holds. Must not know: gates, or what anybody does with
// the engine.
import type { Engine } from './engine.ts'

const engines = new WeakMap<object, Engine>()

export function putEngine(gate: object, engine: Engine): void {
  engines.set(gate, engine)
}

/** Null where the gate is none that was opened here. */
export function engineBehind(gate: object): Engine | null {
  return engines.get(gate) ?? null
}
