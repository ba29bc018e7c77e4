// That only one run writes a job's files. Owns: the lock file. Must not know: which files these are.
//
// The operating system holds the lock, through SQLite: it is gone with its holder, however that ends, so
// there is no lock that nobody holds, and no number of a process that has become another's.
import { closeSync, openSync, rmSync } from 'node:fs'
import Database from 'better-sqlite3'
import { JobError, unwritable } from './problem.ts'

export class JobLock implements Disposable {
  readonly #path: string
  readonly #database: Database.Database
  /** Whether there was no such file before. */
  readonly #isNew: boolean

  private constructor(path: string, database: Database.Database, isNew: boolean) {
    this.#path = path
    this.#database = database
    this.#isNew = isNew
  }

  /**
   * @param path of the lock file; it stays when the lock is let go of
   * @param output the file that the lock is for
   * @throws JobError when another run has it, and when the file is something else
   */
  static take(path: string, output: string): JobLock {
    const isNew = isMade(path)
    let database: Database.Database | null = null
    try {
      database = new Database(path, { timeout: 0 })
      if (!isLock(database)) throw strange(path)
      database.exec('CREATE TABLE IF NOT EXISTS holder (pid INTEGER NOT NULL)')
      database.exec('BEGIN IMMEDIATE')
      // Committed, so that others can read who it is; the lock is taken again in the same breath.
      database.exec(`DELETE FROM holder; INSERT INTO holder VALUES (${process.pid}); COMMIT`)
      database.exec('BEGIN IMMEDIATE')
      return new JobLock(path, database, isNew)
    } catch (error) {
      const code = error instanceof Database.SqliteError ? error.code : ''
      const isHeld = code.startsWith('SQLITE_BUSY')
      const holder = isHeld && database ? holderOf(database) : null
      database?.close()
      if (isNew && !isHeld) rmSync(path, { force: true })
      if (error instanceof JobError) throw error
      if (code === 'SQLITE_NOTADB') throw strange(path)
      if (!isHeld) throw unwritable(path, error)
      const who = holder === null ? 'another run' : `another run (process ${holder})`
      throw new JobError('run', [`${output}: ${who} is writing it: wait for it, or stop it`])
    }
  }

  /** Lets go of it, and takes the file away if it was not there before. */
  undo(): void {
    // While it is held: whoever comes next makes another one.
    if (this.#isNew) rmSync(this.#path, { force: true })
    this.#database.close()
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}

/** Makes the file where there is none: SQLite would not say what is wrong. False where there is one. */
function isMade(path: string): boolean {
  try {
    closeSync(openSync(path, 'wx'))
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw unwritable(path, error)
  }
}

const strange = (path: string): JobError =>
  new JobError('input', [`${path}: is no lock of a job: name another output, or remove it`])

/** Whether there is nothing else in it. */
const isLock = (database: Database.Database): boolean =>
  database.prepare("SELECT 1 FROM sqlite_schema WHERE name <> 'holder'").get() === undefined

function holderOf(database: Database.Database): number | null {
  const pid: unknown = database.prepare('SELECT pid FROM holder').pluck().get()
  return typeof pid === 'number' ? pid : null
}
