// Which Headgate this is. Must not know: anything else.
import { readFileSync } from 'node:fs'
import { z } from 'zod'

/** The package's version, as `headgate --version` prints it. */
export function headgateVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version
}
