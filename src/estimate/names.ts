// Keys for what is learnt by model and flow. Must not know: what is learnt.

/** Callers choose these names, so what is kept of one is bounded. */
const LONGEST_NAME = 200

/** A model's key; an unnamed model has one too. */
export function modelKey(model: string | null): string {
  return model === null ? '' : model.slice(0, LONGEST_NAME)
}

/** The key of a flow on a model. The length in front keeps two pairs of names apart, whatever they contain. */
export function flowKey(model: string | null, flow: string): string {
  const name = modelKey(model)
  return `${name.length}:${name}${flow.slice(0, LONGEST_NAME)}`
}
