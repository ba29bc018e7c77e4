// What keeps a job from being run, or from going on. Owns: the error that says so, and its words. Must not know:
// what becomes of it.

/** `input`: what was asked makes no sense. `run`: the world is not as it should be, another time it may be. */
export class JobError extends Error {
  readonly code = 'JOB_REFUSED'
  readonly kind: 'input' | 'run'
  /** One line each, ready to print. */
  readonly problems: readonly string[]

  constructor(kind: JobError['kind'], problems: readonly string[], cause?: unknown) {
    super(problems.join('\n'), { cause })
    this.name = 'JobError'
    this.kind = kind
    this.problems = problems
  }
}

export const unwritable = (path: string, error: unknown): JobError =>
  new JobError('run', [`${path}: cannot be written: ${reasonOf(error)}`], error)

export const unreadable = (kind: JobError['kind'], path: string, error: unknown): JobError =>
  new JobError(kind, [`${path}: cannot be read: ${reasonOf(error)}`], error)

/** A line that the job has not written. */
export const foreign = (path: string, line: number): JobError =>
  new JobError('input', [
    `${path}:${line}: is not of this job: put the file back as it was, or name another output`,
  ])

/** Why a file cannot be used, without the path that Node puts into it. */
export function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return REASONS[code] ?? (error instanceof Error ? error.message : String(error))
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'access is denied',
  EPERM: 'access is denied',
  EEXIST: 'something else is there',
  EISDIR: 'it is a folder',
  ENOTDIR: 'what should be a folder on the way is a file',
  ELOOP: 'its links lead nowhere',
  ENAMETOOLONG: 'the name is too long',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EFBIG: 'the file has become too large for its file system',
  EIO: 'the device has failed',
  // The lock is SQLite's.
  SQLITE_FULL: 'no space is left on the device',
  SQLITE_READONLY: 'access is denied',
}
