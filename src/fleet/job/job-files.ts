// The files that a job writes: answers, failures and a journal. Owns: taking them up, or making them, without
// touching any that is not the job's. Must not know: how anything is sent.
import { stat } from 'node:fs/promises'
import { type FoundLines, findLines, type LinesForm } from './found-lines.ts'
import type { History } from './history.ts'
import type { Input } from './input.ts'
import type { JobPaths } from './job-paths.ts'
import { Journal } from './journal.ts'
import { KeptLines } from './kept-lines.ts'
import { Past } from './past.ts'
import { JobError } from './problem.ts'
import { headerOf } from './records.ts'
import type { Loss } from './standing.ts'

export interface JobFiles {
  readonly answers: KeptLines
  readonly failures: KeptLines
  readonly journal: Journal
  readonly history: History
  /** The number of the run that has opened them, from 1. */
  readonly run: number
  /** What earlier runs had begun and nobody has any more: the journal does not say so yet. */
  readonly losses: readonly Loss[]
}

export interface OpenOptions {
  /** Whether the failures of earlier runs are open again. */
  readonly retriesFailed: boolean
}

/**
 * Opens the files of this input's job, or makes them. All are looked at before any is touched.
 *
 * @throws JobError when they are something else's, and when they cannot be read or written: then none is left
 *   that was not there
 */
export async function openJobFiles(
  paths: JobPaths,
  input: Input,
  { retriesFailed }: OpenOptions,
): Promise<JobFiles> {
  const past = new Past(paths, input)
  const { history } = past
  const found: FoundLines[] = []
  const kept: KeptLines[] = []
  const find = async (form: LinesForm): Promise<FoundLines> => {
    const lines = await findLines(form)
    found.push(lines)
    return lines
  }
  const keep = async (lines: FoundLines): Promise<KeptLines> => {
    const opened = await KeptLines.open(lines)
    kept.push(opened)
    return opened
  }
  try {
    const journalFound = await find(past.journalForm)
    if (past.isNew) await refuseStrangers(paths)
    const answersFound = await find(past.answersForm)
    const failuresFound = await find(past.failuresForm)
    const journal = new Journal(await keep(journalFound), history)
    const answers = await keep(answersFound)
    const failures = await keep(failuresFound)
    const losses = history.standing.loseBegun()
    const files = { answers, failures, journal, history, run: history.runs + 1, losses }
    if (past.isNew) await journal.keep(headerOf(input.path, input.mark))
    // Whoever took these up died before they were gone.
    if (past.hasRetried) await failures.clear()
    if (retriesFailed) await reopenFailed(files, past)
    return files
  } catch (error) {
    for (const { file } of found) await file?.close()
    for (const lines of kept) await lines.undo()
    throw error
  }
}

/** What failures have cost stays written down, in the journal: in one line, so that it is all of them or none. */
async function reopenFailed(files: JobFiles, { failures }: Past): Promise<void> {
  if (failures.length === 0) return
  const { journal, history, run } = files
  for (const { line, costNanoUsd } of failures) history.standing.unfail(line, costNanoUsd)
  const costs = failures.map(({ line, costNanoUsd }) => ({ line, cost_nano_usd: costNanoUsd ?? 0 }))
  await journal.keep({ kind: 'retried', run, failures: costs })
  await files.failures.clear()
}

/** No output that is not this job's is touched. */
async function refuseStrangers({ output, failures, journal }: JobPaths): Promise<void> {
  for (const file of [output, failures]) {
    const size = await stat(file).then(
      (found) => found.size,
      () => 0,
    )
    if (size > 0)
      throw new JobError('input', [
        `${file}: is there already, and ${journal} is not: name another output, or remove it`,
      ])
  }
}
