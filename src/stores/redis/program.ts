// The operations as one program that a server keeps. Owns: its two forms, a library of functions and,
// for servers older than Redis 7.0, a script for each. Must not know: how they get to the server.
//
// A script runs all of its text at each call, so that the hundreds of functions that an operation
// stands on are made anew each time: that costs more than the operation. A library's are made once.
import { createHash } from 'node:crypto'
import type { Script } from './script.ts'

/** Global names are looked up at each use; these are used all the time. */
const NAMES = 'redis, struct, cjson, math, string, table, tonumber, ipairs, pairs, unpack'
const DECLARED = `local ${NAMES} = ${NAMES}\nlocal key, arg\n`

type Scripts = Readonly<Record<string, Script<never>>>

export interface PlainScript {
  readonly lua: string
  readonly sha: string
}

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex')

export class Program {
  /** Names the library by what is in it, so that processes of different versions share a server. */
  readonly name: string
  readonly #scripts: readonly Script<never>[]
  readonly #libs: string
  readonly #plain = new Map<string, PlainScript>()

  constructor(scripts: Scripts) {
    this.#scripts = Object.values(scripts)
    this.#libs = this.#scripts[0]?.libs ?? ''
    if (this.#scripts.some(({ libs }) => libs !== this.#libs))
      throw new Error('the operations of a program all stand on the same libs')
    const all = this.#scripts.map(({ name, body }) => `${name}\n${body}`)
    this.name = `headgate_${sha1([this.#libs, ...all].join('\n')).slice(0, 12)}`
  }

  functionOf(script: { readonly name: string }): string {
    return `${this.name}_${script.name}`
  }

  /**
   * The text for FUNCTION LOAD. While it is loaded a library may use nothing but `redis`, so the
   * libs are run at the first call.
   */
  library(): string {
    const operations = this.#scripts.map(
      ({ name, body }) => `operations.${name} = function(KEYS, ARGV)\n${body}end\n`,
    )
    const registered = this.#scripts.map(
      (script) => `redis.register_function('${this.functionOf(script)}', function(keys, args)
  operations = operations or load()
  return operations.${script.name}(keys, args)
end)
`,
    )
    return `#!lua name=${this.name}
local operations
local function load()
local operations = {}
${DECLARED}${this.#libs}${operations.join('')}return operations
end
${registered.join('')}`
  }

  /** The script of one operation, for EVALSHA and EVAL. */
  plain(script: { readonly name: string; readonly body: string }): PlainScript {
    const known = this.#plain.get(script.name)
    if (known) return known
    const lua = `${DECLARED}${this.#libs}${script.body}`
    const plain = { lua, sha: sha1(lua) }
    this.#plain.set(script.name, plain)
    return plain
  }
}
