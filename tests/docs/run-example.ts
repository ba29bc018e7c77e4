// Runs a program as users do who were told of a gateway. Owns: how it is started. Must not know: what it
// prints.
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { KEY } from '../harness.ts'
import { ROOT } from './markdown.ts'

const FROM_SOURCES = path.join(import.meta.dirname, 'package-from-sources.mjs')

const run = promisify(execFile)

/** What a program prints that finds the gateway at this address. Rejects when it fails. */
export async function outputOf(url: string, command: string, ...args: string[]): Promise<string> {
  const env = {
    PATH: process.env.PATH,
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_API_KEY: KEY,
    HEADGATE_URL: url,
    // Where the module is that the guide's blocks in Python import.
    PYTHONPATH: path.join(ROOT, 'examples/leases'),
    PYTHONDONTWRITEBYTECODE: '1',
  }
  const { stdout } = await run(command, args, { cwd: ROOT, env, timeout: 20_000 })
  return stdout
}

/** What an example or a block in JavaScript prints. */
export function outputOfNode(url: string, ...args: string[]): Promise<string> {
  return outputOf(url, process.execPath, '--import', FROM_SOURCES, ...args)
}
