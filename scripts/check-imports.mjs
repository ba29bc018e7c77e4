// Checks that rooms import each other one way only, by the rules of .dependency-cruiser.cjs.
import process from 'node:process'
import { cruise, format } from 'dependency-cruiser'
import readRules from 'dependency-cruiser/config-utl/extract-depcruise-options'
import readTsConfig from 'dependency-cruiser/config-utl/extract-ts-config'

/** A cruise that finds no modules finds no mistakes either. */
const FEWEST_MODULES = 20

const rules = await readRules('./.dependency-cruiser.cjs')
const { output: result } = await cruise(['src', 'tests'], rules, undefined, {
  tsConfig: readTsConfig('tsconfig.json'),
})
const { output, exitCode } = await format(result, { outputType: 'err' })
const isEmpty = result.summary.totalCruised <= FEWEST_MODULES
process.stdout.write(output)
if (isEmpty) process.stdout.write(`only ${result.summary.totalCruised} modules were seen\n`)
process.exitCode = isEmpty ? 1 : exitCode
