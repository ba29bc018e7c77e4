// Runs the examples, and each block of the guide that is marked with `<!-- run -->`, against a gateway
// with an emulator behind it and the configuration that the page marks. Their minutes pass in two seconds.
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { type Harness, openHarness } from '../harness.ts'
import { allPages, type Block, blocksOf } from './markdown.ts'
import { outputOf, outputOfNode } from './run-example.ts'

const isThere = (program: string): boolean => spawnSync(program, ['--version']).status === 0
const hasCurl = isThere('curl')
const hasPython = isThere('python3')

function openGate(config = ''): Promise<Harness> {
  return openHarness({ speed: 30, config })
}

describe('examples', () => {
  it('sdk-stream.mjs prints an answer and how long it waited', async () => {
    await using gate = await openGate()
    const output = await outputOfNode(gate.url, 'examples/sdk-stream.mjs')
    expect(output).toMatch(/^the gate lets .*\n\n\d+ tokens, waited \d+ ms for its turn\n$/)
  })

  it.skipIf(!hasCurl)('raw-curl.sh prints an answer with Headgate’s headers', async () => {
    await using gate = await openGate()
    const output = await outputOf(gate.url, 'sh', 'examples/raw-curl.sh')
    expect(output).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(output).toMatch(/^x-headgate-queued-ms: \d+\r$/m)
    expect(output).toContain('"type":"message"')
    expect(gate.of('settled')[0]?.facts.flow).toBe('raw-curl')
  })

  it('priorities.mjs lets the critical request pass those that wait', async () => {
    await using gate = await openGate()
    const output = await outputOfNode(gate.url, 'examples/priorities.mjs')
    const names = output.split('\n').map((line) => line.split('  ')[0])
    expect(names).toHaveLength(14)
    expect(names.indexOf('critical')).toBeGreaterThan(0)
    expect(names.indexOf('critical')).toBeLessThan(9)
  })
})

const marked = allPages()
  .flatMap(blocksOf)
  .filter(({ isRun }) => isRun)

/** The addresses in the text are the usual ones; here they are others. */
function runBlock({ language, text }: Block, gate: Harness): Promise<string> {
  const here = text
    .replaceAll('http://127.0.0.1:4000', gate.url)
    .replaceAll('http://127.0.0.1:4010', gate.emulator.url)
  switch (language) {
    case 'js':
      return outputOfNode(gate.url, '--input-type=module', '--eval', here)
    case 'python':
      return outputOf(gate.url, 'python3', '-c', here)
    default:
      return outputOf(gate.url, 'sh', '-euc', here)
  }
}

async function works(block: Block): Promise<void> {
  await using gate = await openGate(block.config)
  const output = await runBlock(block, gate)
  expect(output).not.toContain('"type":"error"')
  expect(output).not.toContain('"status":4')
  expect(gate.of('refused')).toEqual([])
  expect(gate.of('settled').every(({ outcome }) => outcome === 'answered')).toBe(true)
}

describe('marked blocks', () => {
  const blocksIn = (language: string) =>
    marked.filter((block) => block.language === language).map((block) => ({ at: block.at, block }))

  it('are in JavaScript, in Python and for the shell, and nothing else', () => {
    const counts = ['js', 'python', 'sh'].map((language) => blocksIn(language).length)
    expect(Math.min(...counts)).toBeGreaterThan(0)
    expect(counts.reduce((sum, count) => sum + count)).toBe(marked.length)
  })

  it.each(blocksIn('js'))('$at works', async ({ block }) => await works(block))

  it.skipIf(!hasPython).each(blocksIn('python'))(
    '$at works',
    async ({ block }) => await works(block),
  )

  it.skipIf(!hasCurl).each(blocksIn('sh'))('$at works', async ({ block }) => await works(block))
})
