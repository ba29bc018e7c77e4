// Where the files of a job are. Owns: their names, and that nothing else is there. Must not know: what is in them.
import { constants } from 'node:fs'
import { access, lstat, readlink, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { JobError, unwritable } from './problem.ts'

export interface JobPaths {
  readonly output: string
  readonly failures: string
  readonly journal: string
  readonly lock: string
}

/**
 * Beside the output `answers.jsonl`: `answers.failures.jsonl`, `answers.jsonl.journal` and `answers.jsonl.lock`.
 * Beside another, `answers`: `answers.failures`, and so on, so that no two outputs share a file.
 */
function pathsOf(output: string): JobPaths {
  const failures = output.endsWith('.jsonl')
    ? output.replace(/jsonl$/, 'failures.jsonl')
    : `${output}.failures`
  return { output, failures, journal: `${output}.journal`, lock: `${output}.lock` }
}

/** The ends of what stands beside an output. */
const BESIDE = /\.(failures\.jsonl|failures|journal|lock)$/

/**
 * The files of an output, under whatever name it was given. Makes nothing.
 *
 * @throws JobError when answers would be written over the prompts or over something else, or to nowhere
 */
export async function placesFor(output: string, input: string): Promise<JobPaths> {
  if (path.basename(output) === '' || output.endsWith(path.sep))
    throw new JobError('input', [`${output || 'the output'}: is no name of a file: give it one`])
  const file = await behindLinks(output).catch((error: unknown) => {
    throw unwritable(output, error)
  })
  const [, end] = BESIDE.exec(file) ?? []
  if (end !== undefined)
    throw new JobError('input', [
      `${output}: ends like what a job writes beside its answers (.${end}): name another output`,
    ])
  const paths = pathsOf(file)
  for (const written of Object.values(paths)) await checkPlace(written, input, output)
  return paths
}

async function checkPlace(file: string, input: string, output: string): Promise<void> {
  try {
    const found = await unlessMissing(stat(file))
    if (!found) return await access(path.dirname(file), constants.W_OK)
    if (found.isDirectory()) throw new JobError('input', [`${file}: is a folder: name a file`])
    if (!found.isFile())
      throw new JobError('input', [`${file}: is not a file: answers cannot be kept in it`])
    if (await isSame(input, file))
      throw new JobError('input', [`${file}: is the input too: name another output`])
  } catch (error) {
    throw error instanceof JobError ? error : unwritable(output, error)
  }
}

/** Follows links, also where nothing is there yet: one file is one job's, under whatever name. */
async function behindLinks(name: string): Promise<string> {
  // Links that lead in a circle fail here.
  await unlessMissing(stat(name))
  let file = name
  while ((await unlessMissing(lstat(file)))?.isSymbolicLink())
    file = path.resolve(await realpath(path.dirname(file)), await readlink(file))
  return file
}

async function isSame(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([a, b].map((file) => unlessMissing(stat(file))))
  return one?.ino === other?.ino && one?.dev === other?.dev && one !== null && one !== undefined
}

/** Null where there is no such file. */
async function unlessMissing<T>(looking: Promise<T>): Promise<T | null> {
  try {
    return await looking
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}
