// "Did you mean". Must not know: what the words name.

/** A clause that names the known word nearest to a mistyped one, or lists all that are known. */
export function suggestion(word: string, known: readonly string[]): string {
  const nearest = nearestTo(word, known)
  return nearest === null ? `known here: ${known.join(', ')}` : `did you mean ${nearest}?`
}

/** The known word that is at most a third of its letters away, or null. */
export function nearestTo(word: string, known: readonly string[]): string | null {
  const plainWord = plain(word)
  const [best] = known
    .map((candidate) => ({ candidate, edits: editDistance(plainWord, plain(candidate)) }))
    .filter(({ candidate, edits }) => edits <= Math.ceil(candidate.length / 3))
    .sort((a, b) => a.edits - b.edits)
  return best?.candidate ?? null
}

/** `maxWait`, `max-wait` and `max_wait` are one word spelt three ways. */
const plain = (word: string): string => word.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

/** Levenshtein: how many letters to insert, delete or replace. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [row, letter] of [...from].entries()) {
    const current = [row + 1]
    for (const [column, other] of [...to].entries()) {
      const replaced = (previous[column] ?? 0) + (letter === other ? 0 : 1)
      current.push(Math.min(replaced, (previous[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1))
    }
    previous = current
  }
  return previous.at(-1) ?? 0
}
