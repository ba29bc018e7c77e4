// Makes TypeScript of the Lua that the Redis store runs: for each operation one script with all that
// it includes, and a typed call. `--check` writes nothing, and fails when the module is out of date.
// Other folders may be named for tests: `build-lua.mjs [--check] [<folder of Lua> <module>]`.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { assemble } from './lua/assemble.mjs'
import { LuaError } from './lua/read-lua.mjs'
import { typescriptOf } from './lua/typescript.mjs'

const FOLDER = 'src/stores/redis/scripts'
const MODULE = 'src/stores/redis/scripts.generated.ts'

const { values, positionals } = parseArgs({
  options: { check: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const [folder = FOLDER, module = MODULE] = positionals

try {
  build()
} catch (error) {
  if (!(error instanceof LuaError)) throw error
  fail(error.message)
}

function build() {
  const files = readdirSync(folder).filter((name) => name.endsWith('.lua'))
  const scripts = files.sort().map((name) => assemble(path.join(folder, name)))
  const typescript = typescriptOf(scripts)
  const isFresh = existsSync(module) && readFileSync(module, 'utf8') === typescript
  if (isFresh) return
  if (values.check) fail(`${module} is not what its Lua makes: run "npm run build:lua"`)
  else writeFileSync(module, typescript)
}

function fail(why) {
  process.stderr.write(`${why}\n`)
  process.exitCode = 1
}
