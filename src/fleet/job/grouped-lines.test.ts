import { expect, it } from 'vitest'
import { VirtualClock } from '../../core/clock.ts'
import { GroupedLines } from './grouped-lines.ts'

/** Lets everything happen that needs no time to pass. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A file that does as it is told, and says in which order it was asked. */
function open() {
  const file = { isFull: false, isSlow: false, log: [] as string[] }
  let release: () => void = () => {}
  const clock = new VirtualClock()
  const failures: unknown[] = []
  const lines = new GroupedLines({
    clock,
    failed: (error) => failures.push(error),
    lines: {
      async write(text) {
        if (file.isFull) throw new Error('full')
        file.log.push(`write ${text.split('\n').length - 1}`)
      },
      async sync() {
        if (file.isSlow)
          await new Promise<void>((resolve) => {
            release = resolve
          })
        file.log.push('sync')
      },
      async close() {
        file.log.push('close')
      },
    },
  })
  const append = (count: number): void => {
    for (let line = 0; line < count; line++) lines.append('x\n', () => file.log.push('kept'))
  }
  const kept = (): number => file.log.filter((what) => what === 'kept').length
  return { file, clock, lines, append, kept, failures, release: () => release() }
}

it('counts lines once they are on the disk, 50 ms later at most', async () => {
  const { file, clock, append } = open()
  append(3)
  clock.advanceTo(49)
  await settled()
  expect(file.log).toEqual([])
  clock.advanceTo(50)
  await settled()
  expect(file.log).toEqual(['write 3', 'sync', 'kept', 'kept', 'kept'])
})

it('waits for nothing when 64 are there, and writes what came meanwhile as the next group', async () => {
  const { file, clock, append, kept, release } = open()
  file.isSlow = true
  append(64)
  await settled()
  append(5)
  expect(kept()).toBe(0)
  file.isSlow = false
  release()
  await settled()
  expect(kept()).toBe(64)
  clock.advanceTo(50)
  await settled()
  expect(file.log.filter((what) => what.startsWith('write'))).toEqual(['write 64', 'write 5'])
  expect(kept()).toBe(69)
})

it('makes whoever brings more wait while a group is being written', async () => {
  const { file, lines, append, release } = open()
  file.isSlow = true
  append(64)
  await settled()
  let hasRoom = false
  const room = lines.room().then(() => {
    hasRoom = true
  })
  await settled()
  expect(hasRoom).toBe(false)
  file.isSlow = false
  release()
  await room
})

it('keeps in memory what could not be written, and tries once more at the end', async () => {
  const { file, clock, lines, append, kept, failures } = open()
  file.isFull = true
  append(2)
  clock.advanceTo(50)
  await settled()
  append(70)
  await lines.room()
  expect(failures).toHaveLength(1)
  expect([kept(), lines.waiting]).toEqual([0, 72])
  file.isFull = false
  await lines.close()
  expect([kept(), lines.waiting]).toEqual([72, 0])
  expect(file.log.at(-1)).toBe('close')
})

it('says at the end what could not be written at all', async () => {
  const { file, lines, append } = open()
  file.isFull = true
  append(2)
  await expect(lines.close()).rejects.toThrow('full')
  expect(lines.waiting).toBe(2)
  expect(file.log).toEqual(['close'])
})

it('writes no line twice, although lines came while it was about to be closed', async () => {
  const { file, clock, lines, append, release } = open()
  file.isSlow = true
  append(1)
  clock.step()
  await settled()
  append(1)
  const closing = lines.close()
  release()
  await settled()
  // A timer of before: what it would write is being written.
  while (clock.step()) await settled()
  release()
  await closing
  expect(file.log).toEqual(['write 1', 'sync', 'kept', 'write 1', 'sync', 'kept', 'close'])
})

it('writes no line twice, although somebody waits for all of them when it is closed', async () => {
  const { file, clock, lines, append, release } = open()
  file.isSlow = true
  append(1)
  clock.step()
  await settled()
  append(1)
  const flushing = lines.flush()
  const closing = lines.close()
  release()
  await settled()
  file.isSlow = false
  release()
  await closing
  await flushing
  expect(file.log).toEqual(['write 1', 'sync', 'kept', 'write 1', 'sync', 'kept', 'close'])
})
