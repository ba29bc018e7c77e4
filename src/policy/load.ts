// Reads a configuration file, YAML or JSON, and tells every mistake with its line. Must not know:
// flags, defaults.
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml'
import type { z } from 'zod'
import { problemLine } from './problem.ts'
import { type FileConfig, fileSchema, keysAt } from './schema.ts'
import { suggestion } from './suggest.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export interface ReadFile {
  /** Empty where the file has problems. */
  readonly config: FileConfig
  readonly problems: readonly string[]
  /** `file:line:column: key` of what stands at a path. */
  readonly placeOf: (path: Path) => string
}

type Path = readonly PropertyKey[]

/** Keys whose values are never repeated in a message. */
const SECRET_KEY = /(?:^|\.)(?:api_key|sha256|secret|token|webhook\.url)$/

/** Checks the text of a file. `${NAME}` in a value stands for an environment variable. */
export function readConfig(name: string, text: string, env: Environment): ReadFile {
  const file = new ConfigFile(name, text)
  const problems = [...file.syntaxProblems(), ...file.interpolate(env)]
  const placeOf = (path: Path): string => file.placeOf(path)
  if (problems.length > 0) return { config: {}, problems, placeOf }
  const checked = fileSchema.safeParse(file.content())
  if (checked.success) return { config: checked.data, problems, placeOf }
  const mistakes = checked.error.issues.flatMap((issue) => file.problemsOf(issue))
  return { config: {}, problems: mistakes, placeOf }
}

/** A parsed file that knows where everything stands. */
class ConfigFile {
  readonly #name: string
  readonly #text: string
  readonly #lines = new LineCounter()
  readonly #document: Document.Parsed

  constructor(name: string, text: string) {
    this.#name = name
    this.#text = text
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      uniqueKeys: true,
      prettyErrors: false,
    })
  }

  /** The file as plain data; an empty file says nothing. */
  content(): unknown {
    return this.#document.toJS() ?? {}
  }

  syntaxProblems(): string[] {
    const { errors, warnings } = this.#document
    const problems = [...errors, ...warnings].map(
      (error) => `${this.#at(error.pos[0])}: ${this.#why(error)}`,
    )
    visit(this.#document, {
      Alias: (_, node) => {
        if (node.resolve(this.#document)) return
        const why = 'begins with * and is read as an alias, put it in quotes'
        problems.push(`${this.#at(node.range?.[0])}: *${node.source} ${why}`)
      },
    })
    return problems
  }

  #why({ code, pos, message }: YAMLError): string {
    if (code === 'MULTIPLE_DOCS') return 'a second document begins, keep one'
    if (code !== 'DUPLICATE_KEY') return `this is not YAML or JSON: ${message}`
    const [key] = /^[^:\s]+/.exec(this.#text.slice(pos[0])) ?? []
    return `${key}: is written twice, keep one`
  }

  /** Puts in the values of variables. Source text keeps its place, so messages show `${NAME}`. */
  interpolate(env: Environment): string[] {
    const problems: string[] = []
    visit(this.#document, {
      Scalar: (key, node, ancestors) => {
        if (key === 'key' || typeof node.value !== 'string') return
        node.value = node.value.replaceAll(/\$\{(\w*)\}/g, (_, name: string) => {
          if (env[name]) return env[name]
          const at = `${this.#at(node.range?.[0])}: ${keyText(pathOf([...ancestors, node]))}`
          problems.push(`${at}: the environment variable ${name} is not set, set it`)
          return ''
        })
      },
    })
    return problems
  }

  problemsOf(issue: z.core.$ZodIssue): string[] {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => this.#unknownKey(issue.path, key))
    }
    if (issue.code === 'invalid_key') return [this.#badName(issue)]
    const key = keyText(issue.path)
    const node = this.#nodeAt(issue.path)
    if (!node) {
      const at = this.#at(this.#nodeAt(issue.path.slice(0, -1))?.range?.[0])
      return [`${at}: ${key}: is missing, add it`]
    }
    const place = { at: this.placeOf(issue.path), isSecret: SECRET_KEY.test(key) }
    return [problemLine(place, isScalar(node) ? this.#source(node) : null, issue.message)]
  }

  placeOf(path: Path): string {
    const at = this.#at(this.#nodeAt(path)?.range?.[0])
    return [at, keyText(path)].filter((part) => part !== '').join(': ')
  }

  #unknownKey(path: Path, key: string): string {
    const what = `is not a known key, ${suggestion(key, keysAt(path))}`
    return `${this.#keyAt(path, key)}: ${keyText([...path, key])}: ${what}`
  }

  /** Something has a name that it cannot have. */
  #badName({ path, issues }: z.core.$ZodIssueInvalidKey): string {
    const group = path.slice(0, -1)
    const name = String(path.at(-1))
    const at = `${this.#keyAt(group, name)}: ${keyText(group)}`
    return problemLine({ at }, name, issues[0]?.message ?? 'is not understood')
  }

  /** Where a key itself stands. */
  #keyAt(path: Path, key: string): string {
    const group = this.#nodeAt(path)
    const named = isMap(group) ? pairOf(group, key)?.key : undefined
    return this.#at(isNode(named) ? named.range?.[0] : undefined)
  }

  #nodeAt(path: Path): Node | null {
    let here: unknown = this.#document.contents
    for (const step of path) {
      if (isMap(here)) here = pairOf(here, String(step))?.value
      else here = isSeq(here) && typeof step === 'number' ? here.items[step] : undefined
      if (isAlias(here)) here = here.resolve(this.#document)
    }
    return isNode(here) ? here : null
  }

  /** What stands in the file, which is not what it means once variables are put in. */
  #source(node: { readonly range?: readonly [number, number, number] | null }): string {
    const [start = 0, end = 0] = node.range ?? []
    return this.#text.slice(start, end).replaceAll(/^["']|["']$/g, '')
  }

  #at(offset = 0): string {
    const { line, col } = this.#lines.linePos(offset)
    return `${this.#name}:${line}:${col}`
  }
}

/** The entry of a key, which may be written as a number. */
function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
}

/** The path to the last of these nodes, each of which holds the next. */
function pathOf(nodes: readonly unknown[]): Path {
  return nodes.flatMap((node, index): Path => {
    if (isPair(node)) return [String(node.key)]
    return isSeq(node) ? [node.items.indexOf(nodes[index + 1])] : []
  })
}

/** `providers.anthropic.limits[0].match` */
function keyText(path: Path): string {
  const text = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`))
  return text.join('').replace(/^\./, '')
}
