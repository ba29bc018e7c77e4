// What a job is called among those that share a Redis. Must not know: what is kept under that name.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

/** How much of a journal's beginning names its job: which input it is of, and when it was first run. */
const LINES = 2

/** The same in all runs of a job, and another one for a job that is begun anew. */
export async function jobKeyOf(journalPath: string): Promise<string> {
  const hash = createHash('sha256')
  const input = createReadStream(journalPath)
  let count = 0
  try {
    for await (const line of createInterface({ input })) {
      hash.update(`${line}\n`)
      if (++count === LINES) break
    }
  } finally {
    input.destroy()
  }
  if (count < LINES) throw new Error(`${journalPath}: does not say that its job was begun`)
  return hash.digest('hex')
}
