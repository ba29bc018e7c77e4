// Which models share limits. Must not know: what the limits are.

/** Families whose minor versions all draw on one bucket; every other version has its own. */
const SHARED = new Set(['opus-4', 'sonnet-4', 'fable-5'])

const MODERN = /^claude-(opus|sonnet|haiku|fable)-(\d+)(?:-(\d{1,2}))?(?:-(?:\d{8}|latest))?$/
const OLD = /^claude-(\d+)(?:-(\d{1,2}))?-(opus|sonnet|haiku)(?:-(?:\d{8}|latest))?$/

/**
 * The group of models that share a bucket, named as `claude-FAMILY-MAJOR[-MINOR]`, or null for a name
 * that is no model's. Source: the provider's rate limit tables, August 2026.
 */
export function modelClassOf(model: string): string | null {
  const modern = MODERN.exec(model)
  const old = modern ? null : OLD.exec(model)
  const [family, major, minor] = modern
    ? [modern[1], modern[2], modern[3]]
    : [old?.[3], old?.[1], old?.[2]]
  if (family === undefined || major === undefined) return null
  const version = `${family}-${major}`
  return minor === undefined || SHARED.has(version)
    ? `claude-${version}`
    : `claude-${version}-${minor}`
}

/** The one class on whose input limit reads from the prompt cache count. */
export function countsCacheReads(modelClass: string): boolean {
  return modelClass === 'claude-haiku-3-5'
}
