// What becomes of money when the ledger's file, its disk or its thread fails.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Worker } from 'node:worker_threads'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { realClock, VirtualClock } from '../../src/core/clock.ts'
import { GatheredLedger } from '../../src/ledger/gathered-ledger.ts'
import { type Ledger, LedgerSetupError, LedgerUnavailable } from '../../src/ledger/ledger.ts'
import { startWorker } from '../../src/ledger/sqlite/connection.ts'
import { SqliteBackend } from '../../src/ledger/sqlite/sqlite-backend.ts'
import { openSqliteLedger } from '../../src/ledger/sqlite/sqlite-ledger.ts'
import {
  budgetOf,
  eventOf,
  listOf,
  NOON,
  reservationOf,
  USD,
} from '../conformance/ledger-under-test.ts'

const ALICE = budgetOf('user:alice', 10 * USD)
const ALWAYS = { from: 0, to: Number.POSITIVE_INFINITY }

let folder: string
let file: string
let told: string[]
const ledgers: Ledger[] = []

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'headgate-ledger-'))
  file = path.join(folder, 'ledger.db')
  told = []
})

afterEach(async () => {
  await Promise.all(ledgers.splice(0).map((ledger) => ledger.close(0)))
  rmSync(folder, { recursive: true })
})

const events = {
  unavailable: (why: string) => told.push(`unavailable: ${why}`),
  returned: () => told.push('returned'),
  warned: () => told.push('warned'),
  recovered: (requests: number, cost: number) => told.push(`recovered ${requests} ${cost}`),
  failed: (error: Error) => told.push(`failed: ${error.message}`),
}

async function open(at = file, patienceMs = 300): Promise<Ledger> {
  const holder = `test-${ledgers.length}`
  const ledger = await openSqliteLedger({
    file: at,
    holder,
    clock: realClock(),
    lifeMs: 60_000,
    patienceMs,
    events,
  })
  ledgers.push(ledger)
  return ledger
}

async function refusal(opening: Promise<Ledger>): Promise<string> {
  const error: unknown = await opening.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(LedgerSetupError)
  return error instanceof Error ? error.message : ''
}

describe('a file that another program has locked', () => {
  test('refuses what is new, and keeps what has ended until it is free', async () => {
    const ledger = await open()
    await ledger.reserve(reservationOf('a', USD, [ALICE]))
    const other = new Database(file)
    other.exec('BEGIN IMMEDIATE')
    const settled = ledger.settle(eventOf('a', USD))
    await expect(ledger.reserve(reservationOf('b', USD, [ALICE]))).rejects.toThrow(
      LedgerUnavailable,
    )
    // The thread waits a second for the lock before it says that it cannot have it.
    await expect(ledger.reserve(reservationOf('c', USD, [ALICE]))).rejects.toThrow(
      LedgerUnavailable,
    )
    other.exec('ROLLBACK')
    other.close()
    expect(await settled).toMatchObject({ isNew: true, balances: [{ spent: USD, reserved: 0 }] })
    expect(await ledger.balances([ALICE], NOON)).toMatchObject([{ spent: USD, reserved: 0 }])
  })
})

describe('a disk that is full', () => {
  const canMount = process.platform === 'linux' && process.getuid?.() === 0 && mounts()

  test.skipIf(!canMount)(
    'loses nothing that has ended, and goes on when there is room',
    async () => {
      const disk = path.join(folder, 'disk')
      mkdirSync(disk)
      spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk])
      try {
        const ledger = await open(path.join(disk, 'ledger.db'))
        await ledger.reserve(reservationOf('a', USD, [ALICE]))
        fill(path.join(disk, 'ballast'))
        const settled = Array.from({ length: 3000 }, (_, n) => ledger.settle(eventOf(`n${n}`, 1)))
        const ended = ledger.settle(eventOf('a', USD))
        await expect(
          Promise.all(
            Array.from({ length: 50 }, (_, n) =>
              ledger.reserve(reservationOf(`r${n}`, 1, [ALICE])),
            ),
          ),
        ).rejects.toThrow(/disk/)
        expect(ledger.isAvailable).toBe(false)
        rmSync(path.join(disk, 'ballast'))
        expect(await ended).toMatchObject({ isNew: true })
        await Promise.all(settled)
        expect(await ledger.balances([ALICE], NOON)).toMatchObject([
          { spent: USD + 3000, reserved: 0 },
        ])
        expect(await ledger.total(ALWAYS)).toMatchObject({ cost: USD + 3000, requests: 3001 })
        expect(told.at(0)).toMatch(/^unavailable: .*the disk/)
        expect(told.at(-1)).toBe('returned')
        await ledger.close(1000)
      } finally {
        spawnSync('umount', [disk])
      }
    },
  )

  function fill(ballast: string): void {
    spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=4k'])
  }

  function mounts(): boolean {
    const probe = mkdtempSync(path.join(tmpdir(), 'headgate-mount-'))
    const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', probe])
    if (isMounted.status === 0) spawnSync('umount', [probe])
    rmSync(probe, { recursive: true })
    return isMounted.status === 0
  }
})

describe('a file that is no ledger', () => {
  test('is refused when it is not a database', async () => {
    writeFileSync(
      file,
      'these are words, many enough to be longer than the head of a database. '.repeat(20),
    )
    expect(await refusal(open())).toBe(
      `ledger ${file}: this is not an SQLite database; name another file`,
    )
  })

  test('is refused when it is another program’s database, which stays as it was', async () => {
    const other = new Database(file)
    other.exec('CREATE TABLE songs (title TEXT)')
    expect(await refusal(open())).toMatch(/another program's SQLite database/)
    expect(other.pragma('application_id', { simple: true })).toBe(0)
    other.close()
  })

  test('is refused when a newer Headgate wrote it', async () => {
    await (await open()).close(0)
    const later = new Database(file)
    later.pragma('user_version = 999')
    later.close()
    expect(await refusal(open())).toMatch(/a newer Headgate wrote it \(its format is 999/)
  })

  test('is refused when it is damaged', async () => {
    const ledger = await open()
    await Promise.all(Array.from({ length: 500 }, (_, n) => ledger.settle(eventOf(`n${n}`, 1))))
    await ledger.close(1000)
    damage()
    expect(await refusal(open())).toMatch(/damaged/)
  })

  test('is refused when it is a folder, or lies beneath a file', async () => {
    expect(await refusal(open(folder))).toMatch(/this is a folder/)
    writeFileSync(path.join(folder, 'plain'), '')
    expect(await refusal(open(path.join(folder, 'plain', 'ledger.db')))).toMatch(/not a folder/)
  })

  test.skipIf(process.getuid?.() === 0)('is refused when it may not be written', async () => {
    chmodSync(folder, 0o500)
    expect(await refusal(open())).toMatch(/no right to write/)
    chmodSync(folder, 0o700)
  })

  /** Overwrites pages in the midst of the file, as a failing disk does. */
  function damage(): void {
    const result = spawnSync('dd', [
      'if=/dev/urandom',
      `of=${file}`,
      'bs=4096',
      'seek=8',
      'count=12',
      'conv=notrunc',
    ])
    expect(result.status).toBe(0)
  }
})

test('a new file and its folder are their owner’s alone', async () => {
  const deep = path.join(folder, 'share', 'headgate', 'ledger.db')
  await open(deep)
  expect(statSync(deep).mode & 0o777).toBe(0o600)
  expect(statSync(`${deep}-wal`).mode & 0o777).toBe(0o600)
  expect(statSync(path.dirname(deep)).mode & 0o777).toBe(0o700)
})

test('a file that was deleted takes no more money, and that is told', async () => {
  const ledger = await open()
  await ledger.reserve(reservationOf('a', USD, [ALICE]))
  for (const end of ['', '-wal', '-shm']) rmSync(file + end, { force: true })
  await expect(ledger.reserve(reservationOf('b', USD, [ALICE]))).rejects.toThrow(
    'the file was deleted or replaced while it was in use',
  )
  expect(told[0]).toMatch(/^unavailable: ledger .*ledger\.db: the file was deleted or replaced/)
})

test('a file stays small while it is idle', async () => {
  const ledger = await open()
  await ledger.close(1000)
  expect(statSync(file).size).toBeLessThanOrEqual(128 * 1024)
  expect(existsSync(`${file}-wal`)).toBe(false)
})

test('a thread that dies is started again, and what it was told is written once', async () => {
  const workers: Worker[] = []
  const settings = { file, holder: 'one', busyTimeoutMs: 1000, lifeMs: 60_000 }
  const backend = new SqliteBackend({
    ...settings,
    startWorker: (fileSettings) => {
      const worker = startWorker(fileSettings)
      workers.push(worker)
      return worker
    },
  })
  await backend.open()
  const ledger = await GatheredLedger.start(backend, { clock: realClock(), events })
  ledgers.push(ledger)
  await ledger.reserve(reservationOf('a', USD, [ALICE]))
  const settled = Array.from({ length: 200 }, (_, n) => ledger.settle(eventOf(`n${n}`, 1)))
  const ended = ledger.settle(eventOf('a', USD))
  await workers[0]?.terminate()
  await Promise.all([ended, ...settled])
  expect(workers).toHaveLength(2)
  expect(await ledger.balances([ALICE], NOON)).toMatchObject([{ spent: USD + 200, reserved: 0 }])
  expect((await listOf(ledger.events(ALWAYS))).length).toBe(201)
})

test('a clock that jumps over a month’s end and back forgets nothing and counts nothing twice', async () => {
  const clock = new VirtualClock(Date.parse('2026-05-31T23:59:59Z'))
  const ledger = await openSqliteLedger({ file, holder: 'one', clock, events })
  ledgers.push(ledger)
  const may = clock.now()
  const june = Date.parse('2026-06-01T00:00:01Z')
  for (const [id, at] of Object.entries({ a: may, b: june, c: may, d: june })) {
    await ledger.reserve(reservationOf(id, 2 * USD, [ALICE], at))
  }
  // They end while the clock shows the other month.
  for (const [id, at] of Object.entries({ a: june, b: may, c: june, d: may }))
    await ledger.settle(eventOf(id, USD, { at }))
  expect(await ledger.balances([ALICE], may)).toMatchObject([{ spent: 2 * USD, reserved: 0 }])
  expect(await ledger.balances([ALICE], june)).toMatchObject([{ spent: 2 * USD, reserved: 0 }])
  expect(await ledger.total({ from: 0, to: june - 1000 })).toMatchObject({ cost: 2 * USD })
  expect(await ledger.total(ALWAYS)).toMatchObject({ cost: 4 * USD, requests: 4 })
})
