// The client runs wherever there is fetch: its sources need nothing of Node's, neither to compile nor to run.
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createContext, Script } from 'node:vm'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../docs/markdown.ts'
import { grant, LEASES } from './clients.ts'
import { scriptCoordinator } from './scripted-coordinator.ts'

const FOLDER = path.join(ROOT, 'src/client')
const FILES = globSync('*.ts', { cwd: FOLDER }).filter((name) => !name.endsWith('.test.ts'))

/** What every platform has, and a page too: its timers are numbers. */
const PLATFORM = {
  AbortController,
  clearTimeout,
  crypto,
  fetch,
  performance,
  setTimeout: (run: () => void, ms: number): number => Number(setTimeout(run, ms)),
  TextDecoder,
  URL,
}

/** The client, as a page would have it. */
function loadInto(globals: object): (program: string) => Promise<unknown> {
  const modules = new Map<string, object>()
  const context = createContext(globals)
  const load = (name: string): object => {
    const known = modules.get(name)
    if (known) return known
    const exports = {}
    modules.set(name, exports)
    const source = readFileSync(path.join(FOLDER, name), 'utf8')
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2024 },
    })
    const wrapped = new Script(`(function (exports, require) {${outputText}\n})`, {
      filename: name,
    })
    wrapped.runInContext(context)(exports, (from: string) => load(from.replace('./', '')))
    return exports
  }
  Object.assign(context, load('connect.ts'))
  return (program) => new Script(`(async () => {${program}})()`).runInContext(context)
}

describe('the client', () => {
  it('compiles without the types of Node', () => {
    const program = ts.createProgram(
      FILES.map((name) => path.join(FOLDER, name)),
      {
        ...ts.parseJsonConfigFileContent(
          ts.readConfigFile(path.join(ROOT, 'tsconfig.json'), ts.sys.readFile).config,
          ts.sys,
          ROOT,
        ).options,
        types: [],
        lib: [
          'lib.es2024.d.ts',
          'lib.esnext.disposable.d.ts',
          'lib.dom.d.ts',
          'lib.dom.asynciterable.d.ts',
        ],
      },
    )
    const problems = ts
      .getPreEmitDiagnostics(program)
      .map(
        ({ messageText, file }) =>
          `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
      )
    expect(problems).toEqual([])
  })

  it('runs where there is nothing but a page’s own', async () => {
    await using gate = await scriptCoordinator()
    const run = loadInto(PLATFORM)
    const done = run(`
      const told = []
      const client = connect({ url: '${gate.url}', key: 'hg_key', onEvent: ({ kind }) => told.push(kind) })
      const id = await client.withLease('model', { load: 5 }, (lease) => lease.id)
      return JSON.stringify({ id, told })`)
    ;(await gate.next(LEASES)).drop()
    grant(await gate.next(LEASES))
    const renewal = await gate.next('POST /headgate/v1/leases/lease-1/settle')
    renewal.answer(200, {})
    expect(await done).toBe('{"id":"lease-1","told":["reconnecting"]}')
  })
})
