// What stands on the pages works: links lead somewhere, files are read, commands are understood.
import path from 'node:path'
import { Command, CommanderError } from 'commander'
import { describe, expect, it } from 'vitest'
import { addBudgetsCommand } from '../../src/cli/budgets.ts'
import { addWhomFlags } from '../../src/cli/check.ts'
import { addDemoFlags } from '../../src/cli/demo.ts'
import { addEmulateFlags } from '../../src/cli/emulate.ts'
import { addSettingFlags } from '../../src/cli/flags.ts'
import { addKeysCommand } from '../../src/cli/keys.ts'
import { addRunFlags } from '../../src/cli/run-flags.ts'
import { addStatusFlags } from '../../src/cli/status.ts'
import { readConfig } from '../../src/policy/load.ts'
import { loadSettings } from '../../src/policy/resolve.ts'
import type { Flags } from '../../src/policy/setting-table.ts'
import { fakeIo } from '../cli/fake-io.ts'
import {
  allPages,
  anchorsOf,
  blocksOf,
  codesIn,
  exists,
  type Page,
  proseOf,
  ROOT,
  readPage,
} from './markdown.ts'

const PAGES = allPages()
const BLOCKS = PAGES.flatMap(blocksOf)

const inLanguage = (...languages: readonly string[]) =>
  BLOCKS.filter(({ language }) => languages.includes(language))

function linksOf(page: Page): { readonly at: string; readonly target: string }[] {
  const links = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '')
  const own = links.filter((link) => !link.startsWith('https://'))
  return own.map((link) => {
    const [file = '', anchor] = link.split('#')
    const name = file === '' ? page.name : path.join(path.dirname(page.name), file)
    return { at: page.name, target: anchor === undefined ? name : `${name}#${anchor}` }
  })
}

describe('links', () => {
  it('lead to files and headings that are there', () => {
    const links = PAGES.flatMap(linksOf)
    expect(links.length).toBeGreaterThan(50)
    const dead = links.filter(({ target }) => {
      const [name = '', anchor] = target.split('#')
      return !exists(name) || (anchor !== undefined && !anchorsOf(readPage(name)).includes(anchor))
    })
    expect(dead).toEqual([])
  })

  it('lead to every page from the table of contents', () => {
    const linked = linksOf(readPage('docs/README.md')).map(({ target }) => target)
    const pages = PAGES.map(({ name }) => name).filter((name) => /^docs\/\w+\//.test(name))
    expect(pages.filter((name) => !linked.includes(name))).toEqual([])
  })
})

describe('files', () => {
  it('that are named in the text are there', () => {
    const named = PAGES.flatMap((page) =>
      codesIn(proseOf(page)).filter((code) =>
        /^(?:src|tests|bench|examples|docs)\/\S+$/.test(code),
      ),
    )
    expect(named.length).toBeGreaterThan(20)
    expect(named.filter((name) => !exists(name))).toEqual([])
  })
})

describe('the README', () => {
  it('has fewer than 120 lines', () => {
    expect(readPage('README.md').text.split('\n').length).toBeLessThan(120)
  })
})

describe('blocks', () => {
  it.each(inLanguage('yaml').map((block) => [block.at, block.text]))(
    '%s is a configuration',
    (at, text) => {
      const names = [...text.matchAll(/\$\{(\w+)\}/g)].map((match) => match[1] ?? '')
      const env = Object.fromEntries(names.map((name) => [name, 'sk-ant-an-example']))
      expect(readConfig(at, text, env).problems).toEqual([])
    },
  )

  it('in JSON are JSON', () => {
    const blocks = inLanguage('json')
    expect(blocks.length).toBeGreaterThan(0)
    for (const { text } of blocks) expect(JSON.parse(text)).toBeTypeOf('object')
  })
})

describe('variables', () => {
  it('that begin with HEADGATE_ are known', () => {
    const text = PAGES.map(proseOf).join('\n')
    const names = new Set(text.match(/HEADGATE_\w+/g))
    expect(names.size).toBeGreaterThan(5)
    const env = Object.fromEntries([...names].map((name) => [name, '']))
    expect(loadSettings({}, env, import.meta.dirname).warnings).toEqual([])
  })
})

/** From the root's own arguments on; `npm start -- …` is the same program. */
const COMMAND_LINE = /^(?:npm start(?: -- (.*))?|headgate(?: (.*))?)$/

function commandLines(): string[] {
  const typed = inLanguage('sh').flatMap(({ text }) => text.split('\n'))
  const mentioned = PAGES.flatMap((page) => codesIn(proseOf(page)))
  return [...typed, ...mentioned].flatMap((line) => {
    const match = COMMAND_LINE.exec(line.trim())
    return match && !line.includes('…') ? [match[1] ?? match[2] ?? ''] : []
  })
}

/** Understands a command line as the program does, and does nothing. */
function parse(line: string): void {
  const program = new Command('headgate').exitOverride()
  program.configureOutput({ writeOut: () => {}, writeErr: () => {} })
  const add = (name: string): Command => program.command(name)
  const checkSettings = (flags: Flags): void => {
    // Files are named from the repository's root; whoever works there may have a headgate.yaml of their own.
    loadSettings(flags, {}, flags.config === undefined ? import.meta.dirname : ROOT)
  }
  addSettingFlags(add('serve')).action(checkSettings)
  addWhomFlags(addSettingFlags(add('check'))).action(checkSettings)
  for (const command of [
    addStatusFlags(add('status')),
    addDemoFlags(add('demo')),
    addEmulateFlags(add('emulate')),
    addRunFlags(add('run')),
  ])
    command.action(() => {})
  addKeysCommand(program, fakeIo(), () => {})
  addBudgetsCommand(program, fakeIo(), () => {})
  for (const group of program.commands)
    for (const command of group.commands) command.action(() => {})
  const argv = (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''))
  const isServe = argv[0]?.startsWith('-') ?? true
  try {
    program.parse(isServe ? ['serve', ...argv] : argv, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error
  }
}

describe('command lines', () => {
  const lines = [...new Set(commandLines())]

  it('are many', () => {
    expect(lines.length).toBeGreaterThan(15)
  })

  it.each(lines)('headgate %s is understood', (line) => {
    expect(() => parse(line)).not.toThrow()
  })

  it('that are wrong are not', () => {
    for (const line of ['--prot 1', 'serv', '--max-wait soon', 'emulate --rpm none', 'keys create'])
      expect(() => parse(line)).toThrow()
  })
})
