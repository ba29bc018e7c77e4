// Reads one file of Lua: the comment that it begins with, and the code below.
//
//   -- What it does, for the docstring.
//   -- @include <file of lib/, without .lua>
//   -- @key <name> <what it is>
//   -- @arg <name> <kind> <what it is, and its unit>
//   -- @answer <what is returned>
//   -- @module: of a file of lib/, nothing is seen outside but the table that has its name
//
// A line that begins with no `@` goes on with what the line above it says; an empty one ends that.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { kinds } from './kinds.mjs'

const NAME = /^[a-z][a-z0-9_]*$/
const LIB = /^[a-z][a-z0-9/-]*$/

/** A mistake in a file of Lua, for people to mend. */
export class LuaError extends Error {
  name = 'LuaError'

  constructor(file, line, what) {
    super(`${path.relative(process.cwd(), file)}:${line}: ${what}`)
  }
}

/** What each word of the header adds to what is known of the file. Throws what is wrong with it. */
const directives = {
  include(lua, rest) {
    if (!LIB.test(rest)) throw new Error('"@include" takes the name of one file of lib/')
    return push(lua.includes, { name: rest })
  },
  key(lua, rest) {
    const [name, ...text] = rest.split(/\s+/)
    if (!NAME.test(name)) throw new Error('"@key" takes a name in snake_case and a description')
    return push(lua.keys, { name, text: text.join(' ') })
  },
  arg(lua, rest) {
    const [name, kind, ...text] = rest.split(/\s+/)
    if (!NAME.test(name)) throw new Error('"@arg" takes a name in snake_case and a kind')
    if (!Object.hasOwn(kinds, kind ?? '')) {
      const known = Object.keys(kinds).join(', ')
      throw new Error(`"${name}" is of no known kind: one of ${known} stands behind its name`)
    }
    return push(lua.args, { name, kind, text: text.join(' ') })
  },
  answer(lua, rest) {
    return push(lua.answers, { text: rest })
  },
  module(lua) {
    lua.isModule = true
    return { text: '' }
  },
}

/** Everything that has a place in the file has its `line`, and `file`. */
export function readLua(file) {
  const lines = readFileSync(file, 'utf8').split('\n')
  const end = lines.findIndex((line) => !line.startsWith('--'))
  const header = lines.slice(0, end === -1 ? lines.length : end)
  return { file, ...readHeader(file, header), code: readCode(file, lines, header.length) }
}

function readHeader(file, header) {
  const lua = { summary: [], includes: [], keys: [], args: [], answers: [], isModule: false }
  let last = null
  for (const [i, line] of header.entries()) {
    const text = line.replace(/^--+/, '').trim()
    if (text === '') last = null
    else if (text.startsWith('@')) last = directive(lua, text, { file, line: i + 1 })
    else if (last) last.text = `${last.text} ${text}`.trim()
    else lua.summary.push(text)
  }
  return { ...lua, summary: lua.summary.join(' ') }
}

function directive(lua, text, place) {
  const [, word, rest] = /^@(\S*)\s*(.*)$/.exec(text)
  if (!Object.hasOwn(directives, word)) {
    const known = Object.keys(directives).map((name) => `@${name}`)
    throw new LuaError(place.file, place.line, `"@${word}" is none of ${known.join(', ')}`)
  }
  try {
    return Object.assign(directives[word](lua, rest), place)
  } catch (error) {
    throw new LuaError(place.file, place.line, error.message)
  }
}

/** Without empty lines and those that are only comment: the server has no use for them. */
function readCode(file, lines, from) {
  const code = []
  for (const [i, line] of lines.entries()) {
    const text = line.trim()
    if (i < from || text === '') continue
    const mistake = mistakeIn(text)
    if (mistake) throw new LuaError(file, i + 1, mistake)
    if (!text.startsWith('--')) code.push(line.trimEnd())
  }
  return code
}

function mistakeIn(text) {
  const [, word] = /^--+\s*@(\w+)/.exec(text) ?? []
  if (Object.hasOwn(directives, word ?? '')) return `"@${word}" stands below the first comment`
  return /^--\[=*\[/.test(text) ? 'a comment of many lines is written with "--" on each' : null
}

function push(list, entry) {
  list.push(entry)
  return entry
}
