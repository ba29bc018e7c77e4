#!/usr/bin/env node
// Starts the built program. Plain JavaScript that any Node can read: the version is checked before
// anything that needs a newer one is imported.
import process from 'node:process'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major > 22 || (major === 22 && minor >= 19)) {
  const { main } = await import('../dist/cli/main.js')
  process.exitCode = await main(process.argv.slice(2))
} else {
  process.stderr.write(`headgate needs Node 22.19 or newer, this is ${process.versions.node}.\n`)
  process.exitCode = 2
}
