// What keeps a job from being run, or from going on. Owns: the error that says so. Must not know: what
// becomes of it.

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

/** Why a file cannot be used, without the path that Node puts into it. */
export function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return REASONS[code] ?? (error instanceof Error ? error.message : String(error))
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'access is denied',
  EPERM: 'access is denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'what should be a folder on the way is a file',
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EFBIG: 'the file has become too large for its file system',
  EIO: 'the device has failed',
}
