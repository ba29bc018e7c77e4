// The documentation as the tests read it: pages, code blocks, tables, headings. Owns: taking Markdown
// apart as far as these pages use it. Must not know: what any page claims.
import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'

export const ROOT = path.join(import.meta.dirname, '../..')

export interface Page {
  /** From the repository's root. */
  readonly name: string
  readonly text: string
}

export interface Block {
  /** The page and the line on which the block begins. */
  readonly at: string
  readonly language: string
  readonly text: string
  /** Marked with `<!-- run -->`: it works as it stands. */
  readonly isRun: boolean
  /** What the gate is told for it: the last block before that is marked with `<!-- config -->`. */
  readonly config: string
}

export interface Table {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export function readPage(name: string): Page {
  return { name, text: readFileSync(path.join(ROOT, name), 'utf8') }
}

export function allPages(): Page[] {
  const names = ['README.md', 'CHANGELOG.md', 'examples/README.md', 'docs/README.md']
  return [...names, ...globSync('docs/*/*.md', { cwd: ROOT }).sort()].map(readPage)
}

export const exists = (name: string): boolean => existsSync(path.join(ROOT, name))

const FENCED = /^(?:<!-- (run|config) -->\n)?```(\w+)?\n(.*?)^```$/gms

export function blocksOf({ name, text }: Page): Block[] {
  let config = ''
  return [...text.matchAll(FENCED)].map((match) => {
    const [, mark, language = '', inside = ''] = match
    if (mark === 'config') config = inside
    const at = `${name}:${text.slice(0, match.index).split('\n').length}`
    return { at, language, text: inside, isRun: mark === 'run', config }
  })
}

/** The text without its code blocks. */
export const proseOf = ({ text }: Page): string => text.replaceAll(FENCED, '')

const RULE = /^\|(?: -+ \|)+$/

export function tablesOf(page: Page): Table[] {
  const lines = proseOf(page).split('\n')
  return lines.flatMap((line, index) => {
    if (!RULE.test(line)) return []
    const rest = lines.slice(index + 1)
    const end = rest.findIndex((row) => !row.startsWith('|'))
    const rows = rest.slice(0, end < 0 ? rest.length : end)
    return [{ head: cellsOf(lines[index - 1] ?? ''), rows: rows.map(cellsOf) }]
  })
}

/** The table whose head begins with these cells. */
export function tableOf(page: Page, ...head: readonly string[]): Table {
  const found = tablesOf(page).find((table) => head.every((cell, i) => table.head[i] === cell))
  if (!found) throw new Error(`${page.name} has no table that begins with ${head.join(', ')}`)
  return found
}

const cellsOf = (row: string): string[] =>
  row
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())

/** Every piece of inline code. */
export const codesIn = (text: string): string[] =>
  [...text.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '')

/** A cell without the marks of inline code. */
export const bare = (cell = ''): string => cell.replaceAll('`', '')

/** The anchors that a page's headings have, as GitHub makes them. */
export function anchorsOf(page: Page): string[] {
  return [...proseOf(page).matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
