// node bench/fleet/run.ts [--quick] [NAME…]: eighteen thousand prompts through headgate run, and beside it
// what people do without: real processes and the emulator, on time that runs many times as fast.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeSetting, say, writeResults, writeSection } from '../report.ts'
import { tracesFolder } from '../scheduling/traces.ts'
import { type Figures, measure, type Scenario } from './scenarios.ts'
import { renderFleet } from './table.ts'

const isQuick = process.argv.includes('--quick')
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('--'))

const ALL = 18_000
/** Where it is no question of how long a job is. */
const SOME = 6000
/** A person's waits are short: their time runs less fast. */
const BESIDE = { kind: 'beside', prompts: SOME, speed: 12 } as const

const SCENARIOS: readonly Scenario[] = [
  { name: 'job', kind: 'job', prompts: ALL, speed: 30 },
  { name: 'outside', kind: 'job', prompts: ALL, speed: 30, emulator: ['--external-share', '0.3'] },
  {
    name: 'overload',
    kind: 'job',
    prompts: SOME,
    speed: 30,
    emulator: ['--overload-rate', '0.01'],
  },
  { name: 'cap', kind: 'job', prompts: SOME, speed: 30, maxSpendUsd: 50 },
  { name: 'sdk-32', kind: 'sdk', prompts: ALL, speed: 30, loops: 32 },
  { name: 'sdk-128', kind: 'sdk', prompts: ALL, speed: 30, loops: 128 },
  { ...BESIDE, name: 'default', sender: 'run', job: 'low', person: 'normal' },
  { ...BESIDE, name: 'same-lane', sender: 'run', job: 'normal', person: 'normal' },
  { ...BESIDE, name: 'sdk-low', sender: 'sdk', loops: 128, job: 'low', person: 'normal' },
  { ...BESIDE, name: 'sdk-same-lane', sender: 'sdk', loops: 128, job: 'normal', person: 'normal' },
  { ...BESIDE, name: 'ungated', sender: 'run', job: 'low', person: null },
  { ...BESIDE, name: 'sdk-ungated-32', sender: 'sdk', loops: 32, job: 'normal', person: null },
  { ...BESIDE, name: 'sdk-ungated-128', sender: 'sdk', loops: 128, job: 'normal', person: null },
]

const traces = tracesFolder()
if (traces === null) throw new Error('HEADGATE_TRACES does not name the folder of traces')
const folder = mkdtempSync(join(tmpdir(), 'headgate-bench-fleet-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
const setting = describeSetting(`node bench/fleet/run.ts${isQuick ? ' --quick' : ''}`)
const figures: Figures[] = []
for (const scenario of SCENARIOS) {
  if (wanted.length > 0 && !wanted.includes(scenario.name)) continue
  const one = await measure(isQuick ? shorter(scenario) : scenario, { traces, folder })
  say(JSON.stringify(one))
  figures.push(one)
}
const results = { ...setting, figures }
say(`\n${renderFleet(results)}`)
if (wanted.length === 0 && !isQuick) {
  writeResults('fleet', results)
  writeSection('fleet', renderFleet(results))
}

/** A tenth; but beside a job a person needs the time to ask. */
function shorter(scenario: Scenario): Scenario {
  if (scenario.kind === 'beside') return { ...scenario, prompts: scenario.prompts / 3 }
  const prompts = scenario.prompts / 10
  return scenario.kind === 'job' && scenario.maxSpendUsd !== undefined
    ? { ...scenario, prompts, maxSpendUsd: scenario.maxSpendUsd / 10 }
    : { ...scenario, prompts }
}
