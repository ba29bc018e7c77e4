import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { loadSettings } from './resolve.ts'
import { ConfigWatch, needsRestart } from './watch.ts'

function tempFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'headgate-watch-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

async function watched(folder: string) {
  const load = () => loadSettings({}, {}, folder)
  const onLoaded = vi.fn()
  const onRefused = vi.fn()
  const onFailed = vi.fn()
  const watch = new ConfigWatch({ load, loaded: load(), folder, onLoaded, onRefused, onFailed })
  onTestFinished(() => watch.close())
  await watch.ready
  return { watch, onLoaded, onRefused, onFailed }
}

const wait = (maxWait: string) => `queue: { max_wait: ${maxWait} }\n`
const loadedWith = (maxWaitMs: number) =>
  expect.objectContaining({
    settings: expect.objectContaining({ queue: expect.objectContaining({ maxWaitMs }) }),
  })

describe('a configuration file that is watched', () => {
  it('is read again when it is written', async () => {
    const folder = tempFolder()
    const file = path.join(folder, 'headgate.yaml')
    writeFileSync(file, wait('1m'))
    const { onLoaded, onRefused } = await watched(folder)
    writeFileSync(file, wait('2m'))
    await vi.waitFor(() => expect(onLoaded).toHaveBeenCalledWith(loadedWith(120_000)), 5000)
    expect(onRefused).not.toHaveBeenCalled()
  })

  it('is read again when another file is renamed to it, each time', async () => {
    const folder = tempFolder()
    const file = path.join(folder, 'headgate.yaml')
    writeFileSync(file, wait('1m'))
    const { onLoaded } = await watched(folder)
    for (const minutes of [2, 3]) {
      writeFileSync(path.join(folder, 'new'), wait(`${minutes}m`))
      renameSync(path.join(folder, 'new'), file)
      const expected = loadedWith(minutes * 60_000)
      await vi.waitFor(() => expect(onLoaded).toHaveBeenCalledWith(expected), 5000)
    }
  })

  it('is read again when the link that it is reached through is swapped, each time', async () => {
    const folder = tempFolder()
    const version = (name: string, text: string) => {
      mkdirSync(path.join(folder, name))
      writeFileSync(path.join(folder, name, 'headgate.yaml'), text)
      symlinkSync(name, path.join(folder, '..data_tmp'))
      renameSync(path.join(folder, '..data_tmp'), path.join(folder, '..data'))
    }
    version('..1', wait('1m'))
    symlinkSync(path.join('..data', 'headgate.yaml'), path.join(folder, 'headgate.yaml'))
    const { onLoaded } = await watched(folder)
    for (const minutes of [2, 3]) {
      version(`..${minutes}`, wait(`${minutes}m`))
      rmSync(path.join(folder, `..${minutes - 1}`), { recursive: true })
      const expected = loadedWith(minutes * 60_000)
      await vi.waitFor(() => expect(onLoaded).toHaveBeenCalledWith(expected), 5000)
    }
  })

  it('is read when it comes to be', async () => {
    const folder = tempFolder()
    const { onLoaded } = await watched(folder)
    writeFileSync(path.join(folder, 'headgate.yaml'), wait('2m'))
    await vi.waitFor(() => expect(onLoaded).toHaveBeenCalledWith(loadedWith(120_000)), 5000)
  })

  it('tells its mistakes, and that it is in order again', async () => {
    const folder = tempFolder()
    const file = path.join(folder, 'headgate.yaml')
    writeFileSync(file, wait('1m'))
    const { onLoaded, onRefused } = await watched(folder)
    writeFileSync(file, wait('soon'))
    const problem = expect.stringContaining('headgate.yaml:1:20: queue.max_wait: "soon" is not')
    await vi.waitFor(() => expect(onRefused).toHaveBeenCalledWith([problem]), 5000)
    expect(onLoaded).not.toHaveBeenCalled()
    writeFileSync(file, wait('1m'))
    await vi.waitFor(() => expect(onLoaded).toHaveBeenCalledWith(loadedWith(60_000)), 5000)
  })

  it('keeps its settings when it is gone', async () => {
    const folder = tempFolder()
    const file = path.join(folder, 'headgate.yaml')
    writeFileSync(file, wait('1m'))
    const { onLoaded, onRefused } = await watched(folder)
    rmSync(file)
    const problem = 'headgate.yaml: the file is gone, put it back'
    await vi.waitFor(() => expect(onRefused).toHaveBeenCalledWith([problem]), 5000)
    expect(onLoaded).not.toHaveBeenCalled()
  })

  it('is read again when that is asked for, changed or not', async () => {
    const folder = tempFolder()
    writeFileSync(path.join(folder, 'headgate.yaml'), wait('1m'))
    const { watch, onLoaded } = await watched(folder)
    watch.reload()
    watch.reload()
    expect(onLoaded).toHaveBeenCalledTimes(2)
  })
})

describe('keys that need a new start', () => {
  it('are named when they differ', () => {
    const settingsOf = (flags: Parameters<typeof loadSettings>[0]) =>
      loadSettings(flags, {}, tmpdir()).settings
    const old = settingsOf({})
    expect(needsRestart(old, settingsOf({}))).toEqual([])
    expect(needsRestart(old, settingsOf({ maxWait: '1s' }))).toEqual([])
    const config = path.join(import.meta.dirname, 'fixtures/leases.yaml')
    expect(needsRestart(old, settingsOf({ config }))).toEqual([])
    const next = settingsOf({ port: '1', ledger: 'off', logLevel: 'debug' })
    expect(needsRestart(old, next)).toEqual(['listen', 'ledger', 'log'])
  })
})
