// Makes one script of an operation and the files that it includes.
import { existsSync } from 'node:fs'
import path from 'node:path'
import { kinds } from './kinds.mjs'
import { LuaError, readLua } from './read-lua.mjs'

/** `file` is that of an operation; what it includes is in lib/ beside it. */
export function assemble(file) {
  const operation = readLua(file)
  if (operation.summary === '') {
    throw new LuaError(file, 1, 'a script begins with a comment that says what it does')
  }
  const libs = libsOf(operation, path.join(path.dirname(file), 'lib'))
  const parts = [...libs.values(), operation]
  const keys = keysOf(parts)
  const args = argsOf(parts)
  const head = [
    ...table('key', keys, ({ at }) => `KEYS[${at}]`),
    ...unpacked(args),
    ...table('arg', args, ({ kind, at }) => kinds[kind].read(at)),
  ]
  return {
    name: camelCase(path.basename(file, '.lua')),
    summary: operation.summary,
    answer: operation.answers.map(({ text }) => text).join(' '),
    keys: keys.map(({ name }) => name),
    args: args.map((arg) => ({ ...arg, name: camelCase(arg.name) })),
    // The marks stay: tests put another clock in the place of lib/clock.
    libs: [...libs].map(([name, lib]) => ({
      name: camelCase(name),
      lua: text([`-- lib/${name}`, ...codeOf(name, lib), `-- end lib/${name}`]),
    })),
    body: text([...head, ...operation.code]),
  }
}

/** A module's own names are kept to itself: Lua has room for 200 locals in one function. */
function codeOf(name, { file, code, isModule }) {
  if (!isModule) return code
  const table = name.replaceAll('-', '_')
  const at = code.findIndex((line) => line.startsWith(`local ${table} = `))
  if (at === -1) throw new LuaError(file, 1, `a module declares "local ${table} = …"`)
  const inside = code.with(at, code[at].replace('local ', ''))
  return [`local ${table}`, 'do', ...inside, 'end']
}

function text(lines) {
  return lines.map((line) => `${line}\n`).join('')
}

function camelCase(name) {
  return name.replace(/[-_/]([a-z0-9])/g, (_, letter) => letter.toUpperCase())
}

/** By name, each once, behind all that it includes itself. */
function libsOf(operation, folder) {
  const libs = new Map()
  const include = (lua, above) => {
    for (const { name, line } of lua.includes) {
      if (above.includes(name)) {
        const circle = [...above.slice(above.indexOf(name)), name].join(' > ')
        throw new LuaError(lua.file, line, `includes go in a circle: ${circle}`)
      }
      if (libs.has(name)) continue
      const file = path.join(folder, `${name}.lua`)
      if (!existsSync(file)) throw new LuaError(lua.file, line, `there is no lib/${name}.lua`)
      const lib = readLua(file)
      include(lib, [...above, name])
      libs.set(name, lib)
    }
  }
  include(operation, [])
  return libs
}

/** A key that many parts name is one key. */
function keysOf(parts) {
  const names = new Set(parts.flatMap(({ keys }) => keys.map(({ name }) => name)))
  return [...names].map((name, i) => ({ name, at: i + 1 }))
}

function argsOf(parts) {
  const args = new Map()
  let texts = 0
  let numbers = 0
  for (const arg of parts.flatMap((part) => part.args)) {
    const { name, file, line } = arg
    const first = args.get(name)
    if (first) {
      const where = `${path.basename(first.file)}:${first.line}`
      throw new LuaError(file, line, `there is an argument "${name}" already, from ${where}`)
    }
    const sent = kinds[arg.kind].numbers?.('')
    const at = sent ? sent.map((_, i) => `n${numbers + i + 1}`) : ++texts
    numbers += sent?.length ?? 0
    args.set(name, { ...arg, at })
  }
  return [...args.values()]
}

/** The numbers stand behind the texts. */
function unpacked(args) {
  const names = args.flatMap(({ at }) => (Array.isArray(at) ? at : []))
  if (names.length === 0) return []
  const place = args.length - args.filter(({ at }) => Array.isArray(at)).length + 1
  return [
    `local ${names.join(', ')} = struct.unpack('<${'d'.repeat(names.length)}', ARGV[${place}])`,
  ]
}

/** Tables, not a local for each: Lua has room for 200 locals. Both are declared around the libs. */
function table(name, entries, read) {
  if (entries.length === 0) return []
  const fields = entries.map((entry) => `  ${entry.name} = ${read(entry)},`)
  return [`${name} = {`, ...fields, '}']
}
