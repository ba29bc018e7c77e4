// Lets examples import the package by its own name from its sources, so that they need no build. Loaded
// before them; what the package does not export is not found here either.
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const root = new URL('../../', import.meta.url)
const { exports } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))

registerHooks({
  resolve(specifier, context, nextResolve) {
    const built = exports[specifier.replace(/^headgate(?=\/|$)/, '.')]?.default
    if (!/^headgate(?:\/|$)/.test(specifier) || built === undefined)
      return nextResolve(specifier, context)
    const source = built.replace('./dist/', './src/').replace(/\.js$/, '.ts')
    return { url: new URL(source, root).href, shortCircuit: true }
  },
})
