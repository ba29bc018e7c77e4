// Which models share a bucket of limits. Must not know: the limits themselves.
//
// Since Claude 4 a whole generation of a family shares one (all Opus 4.x), and so do all Fable 5.x;
// from the fifth generation on the half steps (Opus 5.5) have their own, as the older models have.

/** `claude-opus-4-5-20251101`, `claude-sonnet-5`, `claude-haiku-4-5@20251001`. */
const NAMED_FIRST =
  /^claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:-(\d{1,2}))?(?:[-@]\d{8}|-latest)?$/

/** `claude-3-5-haiku-20241022`, `claude-3-opus-latest`. */
const NUMBERED_FIRST = /^claude-(\d)(?:-(\d))?-(opus|sonnet|haiku)(?:[-@]\d{8}|-latest)?$/

/** What may become part of a resource's name, a metric's label and a file's line. */
const PLAIN_NAME = /^[a-z0-9][a-z0-9.-]{0,63}$/

/** Names that the other pools have, or that mean no model. */
const RESERVED = new Set(['batches', 'other', 'unknown'])

/** The group of a model's limits; fast mode has limits of its own. An unknown model is its own group. */
export function limitGroupOf(model: string | null, isFast: boolean): string {
  const group = modelGroup((model ?? '').toLowerCase())
  return isFast ? `${group}-fast` : group
}

function modelGroup(model: string): string {
  const named = NAMED_FIRST.exec(model)
  if (named) return familyGroup(named[1], named[2], named[3])
  const numbered = NUMBERED_FIRST.exec(model)
  if (numbered) return familyGroup(numbered[3], numbered[1], numbered[2])
  const isPlain = PLAIN_NAME.test(model) && !RESERVED.has(model)
  // A key that was put in the wrong place must not become a name that is shown.
  return isPlain && !model.startsWith('sk-') ? model : 'unknown'
}

function familyGroup(family = '', major = '', minor: string | undefined): string {
  const sharesGeneration = major === '4' || family === 'fable' || family === 'mythos'
  const isWhole = minor === undefined || minor === '0' || sharesGeneration
  return isWhole ? `claude-${family}-${major}` : `claude-${family}-${major}-${minor}`
}
