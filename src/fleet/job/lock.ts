// That only one run writes a job's files. Owns: the lock file. Must not know: which files these are.
//
// The operating system holds the lock, through SQLite: it is gone with its holder, however that ends, so
// there is no lock that nobody holds, and no number of a process that has become another's.
import Database from 'better-sqlite3'
import { JobError, reasonOf } from './problem.ts'

export class JobLock implements Disposable {
  readonly #database: Database.Database

  private constructor(database: Database.Database) {
    this.#database = database
  }

  /**
   * @param path of the lock file; it stays when the lock is let go of
   * @param output the file that the lock is for
   * @throws JobError when another run has it
   */
  static take(path: string, output: string): JobLock {
    let database: Database.Database | null = null
    try {
      database = new Database(path, { timeout: 0 })
      database.exec('CREATE TABLE IF NOT EXISTS holder (pid INTEGER NOT NULL)')
      database.exec('BEGIN IMMEDIATE')
      // Committed, so that others can read who it is; the lock is taken again in the same breath.
      database.exec(`DELETE FROM holder; INSERT INTO holder VALUES (${process.pid}); COMMIT`)
      database.exec('BEGIN IMMEDIATE')
      return new JobLock(database)
    } catch (error) {
      const isHeld = error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')
      const holder = isHeld && database ? holderOf(database) : null
      database?.close()
      if (!isHeld)
        throw new JobError('run', [`${path}: cannot be written: ${reasonOf(error)}`], error)
      const who = holder === null ? 'another run' : `another run (process ${holder})`
      throw new JobError('run', [`${output}: ${who} is writing it: wait for it, or stop it`])
    }
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}

function holderOf(database: Database.Database): number | null {
  const pid: unknown = database.prepare('SELECT pid FROM holder').pluck().get()
  return typeof pid === 'number' ? pid : null
}
