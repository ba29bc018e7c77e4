// Writes the module that TypeScript calls scripts by, spelt as the formatter would spell it.
import { kinds } from './kinds.mjs'

const WIDTH = 100

export function typescriptOf(scripts) {
  const code = [libsOf(scripts), ...scripts.map(scriptOf), allScriptsOf(scripts)].join('')
  return `// Written by scripts/build-lua.mjs from scripts/*.lua: edit those.\n${importsFor(code)}\n${code}`
}

function importsFor(code) {
  const numeral = code.includes('doubles(') ? 'doubles, type Script' : null
  const script = code.includes(': Script<') ? `import type { Script } from './script.ts'\n` : ''
  const cost = code.includes(': CostVector')
  return [
    cost ? `import type { CostVector } from '../../core/cost.ts'\n` : '',
    numeral ? `import { ${numeral} } from './script.ts'\n` : script,
  ].join('')
}

/** Each once: most scripts consist of them for the greater part. */
function libsOf(scripts) {
  const libs = new Map(scripts.flatMap((script) => script.libs).map(({ name, lua }) => [name, lua]))
  if (libs.size === 0) return ''
  const entries = [...libs].map(([name, lua]) => `  ${name}: \`${escaped(lua)}\`,\n`)
  return `const lib = {\n${entries.join('')}}\n\n`
}

function scriptOf({ name, summary, answer, keys, args, libs, body }) {
  const type = `${name[0].toUpperCase()}${name.slice(1)}Args`
  const texts = args.filter(({ kind }) => !kinds[kind].numbers).map((arg) => `a.${arg.name}`)
  const numbers = args.flatMap((arg) => kinds[arg.kind].numbers?.(`a.${arg.name}`) ?? [])
  const included = libs.map((lib) => `\${lib.${lib.name}}`)
  const docs = docstring([summary, answer && `Answer: ${answer}`], '')
  return [
    ...(args.length > 0 ? [interfaceOf(type, args), ''] : []),
    ...docs,
    `const ${name}: Script<${args.length > 0 ? type : 'undefined'}> = {`,
    `  name: '${name}',`,
    ...list(
      '  keys: ',
      keys.map((key) => `'${key}'`),
    ),
    ...argsOf(texts, numbers),
    `  libs: \`${included.join('')}\`,`,
    `  body: \`${escaped(body)}\`,`,
    '}',
    '',
    '',
  ].join('\n')
}

function argsOf(texts, numbers) {
  const start = texts.length + numbers.length > 0 ? '  args: (a) => ' : '  args: () => '
  if (numbers.length === 0) return list(start, texts)
  const packed = `doubles([${numbers.join(', ')}])`
  const line = list(start, [...texts, packed])
  if (line.length === 1) return line
  const inner = `    ${packed},`
  const last = inner.length <= WIDTH ? [inner] : ['    doubles([', ...fill(numbers), '    ]),']
  return [`${start}[`, ...texts.map((text) => `    ${text},`), ...last, '  ],']
}

function fill(numbers) {
  return numbers.map((number) => `      ${number},`)
}

function interfaceOf(type, args) {
  const fields = args.flatMap(({ name, kind, text }) => [
    ...docstring([text], '  '),
    `  readonly ${name}: ${kinds[kind].type}`,
  ])
  return [`export interface ${type} {`, ...fields, '}'].join('\n')
}

function allScriptsOf(scripts) {
  if (scripts.length === 0) return 'export const allScripts = {}\n'
  return `export const allScripts = {\n${scripts.map(({ name }) => `  ${name},\n`).join('')}}\n`
}

/** For a template literal. */
function escaped(text) {
  return text.replace(/[\\`]|\$\{/g, '\\$&')
}

/** On one line where it fits, as the formatter has it. */
function list(start, items) {
  const line = `${start}[${items.join(', ')}],`
  if (line.length <= WIDTH) return [line]
  return [`${start}[`, ...items.map((item) => `    ${item},`), '  ],']
}

function docstring(paragraphs, indent) {
  const lines = paragraphs
    .filter((text) => text !== '')
    .map((text) => wrap(text.replaceAll('*/', '*\\/'), WIDTH - indent.length - 3))
    .flatMap((wrapped, i) => (i === 0 ? wrapped : ['', ...wrapped]))
  if (lines.length === 0) return []
  const [first] = lines
  if (lines.length === 1 && first.length <= WIDTH - indent.length - 7) {
    return [`${indent}/** ${first} */`]
  }
  return [`${indent}/**`, ...lines.map((line) => `${indent} * ${line}`.trimEnd()), `${indent} */`]
}

function wrap(text, width) {
  const lines = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`
    } else {
      lines.push(word)
    }
  }
  return lines
}
