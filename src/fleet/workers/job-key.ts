// What a job's journal tells of its workers: what the job is called among those that share a Redis, and whether it had
// any. Must not know: what is kept under that name.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { z } from 'zod'

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

const RUN = '{"kind":"run",'
const runSchema = z.object({ options: z.object({ workers: z.boolean().optional() }).optional() })

/** Whether the last run of a job had workers. */
export async function hadWorkers(journalPath: string): Promise<boolean> {
  let last = '{}'
  for await (const line of createInterface({ input: createReadStream(journalPath) }))
    if (line.startsWith(RUN)) last = line
  return runSchema.safeParse(JSON.parse(last)).data?.options?.workers ?? false
}
