// What it means for a program to import the package by its name.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, it } from 'vitest'

const ROOT = path.join(import.meta.dirname, '../..')
const FROM_SOURCES = path.join(ROOT, 'tests/docs/package-from-sources.mjs')

const run = promisify(execFile)

const folder = mkdtempSync(path.join(tmpdir(), 'headgate-entry-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** What a program prints that finds the package by its name. */
async function outputOf(program: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const file = path.join(folder, 'program.mjs')
  writeFileSync(file, program)
  const args = ['--import', FROM_SOURCES, file]
  const options = { cwd: ROOT, timeout: 20_000, env: { ...process.env, ...env } }
  return (await run(process.execPath, args, options)).stdout
}

/** Prints the packages of which the program has loaded any module by now. */
const LOADED = `
import { registerHooks } from 'node:module'
const urls = new Set()
registerHooks({
  load(url, context, nextLoad) {
    urls.add(url)
    return nextLoad(url, context)
  },
})
const loaded = () =>
  [...new Set([...urls].flatMap((url) => /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1] ?? []))]
`

const DRIVERS = ['ioredis', 'pg', 'better-sqlite3', '@hono/node-server', 'commander', 'pino']

it('loads no database driver, and nothing of a server', async () => {
  const program = `${LOADED}
    const { createGate, gatedFetch } = await import('headgate')
    const gate = await createGate({ resources: { model: { concurrency: 1 } } })
    const answered = await gate.run({ load: 1 }, () => gatedFetch(gate)('data:,hello'))
    console.log(JSON.stringify({ text: await answered.text(), loaded: loaded() }))
    await gate.close()`
  const { text, loaded } = JSON.parse(await outputOf(program))
  expect(text).toBe('hello')
  expect(loaded).toContain('undici')
  expect(DRIVERS.filter((name) => loaded.includes(name))).toEqual([])
})

it('loads no database driver for a fleet', async () => {
  const program = `${LOADED}
    const { Fleet } = await import('headgate/fleet')
    const fleet = new Fleet({ apiKey: 'any', baseUrl: 'http://127.0.0.1:1', retries: { perPayload: 0 } })
    const params = { model: 'm', max_tokens: 1, messages: [] }
    for await (const { error } of fleet.dispatch([params]))
      console.log(JSON.stringify({ type: error.type, loaded: loaded() }))
    await fleet.close()`
  const { type, loaded } = JSON.parse(await outputOf(program))
  expect(type).toBe('upstream_unreachable')
  expect(loaded).toContain('undici')
  expect(DRIVERS.filter((name) => loaded.includes(name))).toEqual([])
})

it('loads a driver where one is named', async () => {
  const program = `${LOADED}
    const { createGate } = await import('headgate')
    const gate = await createGate({ store: 'redis://127.0.0.1:1' }, { events: { warned() {} } })
    console.log(JSON.stringify(loaded()))
    await gate.close()`
  expect(JSON.parse(await outputOf(program))).toContain('ioredis')
})

it('leaves nothing behind that keeps the program alive', async () => {
  const program = `
    import { createGate } from 'headgate'
    const gate = await createGate({ resources: { model: { concurrency: 1 } } })
    await using lease = await gate.acquire('model')
    console.log('over')`
  expect(await outputOf(program)).toBe('over\n')
})

it('ends although its ledger is damaged, and says so', async () => {
  const program = `
    import { DatabaseSync } from 'node:sqlite'
    import { createGate } from 'headgate'
    const config = { ledger: 'sqlite:' + process.env.LEDGER_FILE }
    await (await createGate(config)).close()
    const file = new DatabaseSync(process.env.LEDGER_FILE)
    file.exec('DROP TABLE keys')
    file.close()
    await createGate(config).catch((error) => console.log(error.message))`
  const output = await outputOf(program, { LEDGER_FILE: path.join(folder, 'ledger.db') })
  expect(output).toContain('no such table: keys')
})
