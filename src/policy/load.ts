// Reads a configuration file, YAML or JSON, and tells every mistake with its line. Must not know:
// flags, defaults.
import {
  type Document,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type YAMLError,
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
}

type Path = readonly PropertyKey[]

/** Checks the text of a file. `${NAME}` in a value stands for an environment variable. */
export function readConfig(name: string, text: string, env: Environment): ReadFile {
  const file = new ConfigFile(name, text)
  const problems = [...file.syntaxProblems(), ...file.interpolate(env)]
  if (problems.length > 0) return { config: {}, problems }
  const checked = fileSchema.safeParse(file.content())
  return checked.success
    ? { config: checked.data, problems }
    : { config: {}, problems: checked.error.issues.flatMap((issue) => file.problemsOf(issue)) }
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
    const key = keyText(issue.path)
    const node = this.#nodeAt(issue.path)
    if (!node) {
      const at = this.#at(this.#nodeAt(issue.path.slice(0, -1))?.range?.[0])
      return [`${at}: ${key}: is missing, add it`]
    }
    const at = [this.#at(node.range?.[0]), key].filter((part) => part !== '').join(': ')
    const place = { at, isSecret: key.endsWith('api_key') }
    return [problemLine(place, isScalar(node) ? this.#source(node) : null, issue.message)]
  }

  #unknownKey(path: Path, key: string): string {
    const parent = path.length === 0 ? this.#document.contents : this.#nodeAt(path)
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      : undefined
    const start = isNode(pair?.key) ? pair.key.range?.[0] : undefined
    const what = `is not a known key, ${suggestion(key, keysAt(path))}`
    return `${this.#at(start)}: ${keyText([...path, key])}: ${what}`
  }

  #nodeAt(path: Path) {
    const node = path.length === 0 ? this.#document.contents : this.#document.getIn(path, true)
    return isNode(node) ? node : null
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
