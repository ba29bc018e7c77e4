// What stands behind a gate, for the other parts of this room. Must not know: what they do with it.
import { putEngine } from '../engine/behind.ts'
import type { Engine } from '../engine/engine.ts'
import type { FetchCaller } from './fetch-caller.ts'
import type { Gate } from './gate.ts'

export interface Inside {
  readonly engine: Engine
  /** Those who wait for an answer, or for more of one. */
  readonly callers: Set<FetchCaller>
}

const insides = new WeakMap<Gate, Inside>()

export function putInside(gate: Gate, inside: Inside): void {
  insides.set(gate, inside)
  putEngine(gate, inside.engine)
}

/** @throws TypeError when the gate is not one of `createGate`. */
export function insideOf(gate: Gate): Inside {
  const inside = insides.get(gate)
  if (!inside) throw new TypeError('gatedFetch needs a gate that createGate has made')
  return inside
}
