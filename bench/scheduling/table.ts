// The scheduling figures as JSON and as tables. Must not know: how they were measured.
import { describeSetting, markdownTable, writeResults as write, writeSection } from '../report.ts'
import type { Figures } from './scenarios.ts'

export interface ScenarioFigures {
  readonly scenario: string
  readonly figures: readonly Figures[]
}

const HEAD = [
  'scenario',
  'who',
  'requests answered',
  'agents crashed',
  'upstream 429s',
  'makespan ÷ lower bound',
  'wait p50 / p99',
  'ideal wait p50 / p99',
  'Jain',
  'input / output limit used',
]

export function writeResults(results: readonly ScenarioFigures[], isQuick: boolean): void {
  const command = `node bench/scheduling/run.ts${isQuick ? ' --quick' : ''}`
  write('scheduling', { ...describeSetting(command), results })
  const rows = results.flatMap(({ scenario, figures }) =>
    figures.map((figure, index) => row(index === 0 ? scenario : '', figure)),
  )
  writeSection(
    'scheduling',
    `\`${command}\`, on virtual time, seeded.\n\n${markdownTable([HEAD, ...rows])}`,
  )
}

function row(scenario: string, figure: Figures): string[] {
  const { idealWaitP50S, idealWaitP99S, inputUsedPercent, outputUsedPercent } = figure
  return [
    scenario,
    figure.contender,
    String(figure.answered),
    `${figure.crashedAgents} of ${figure.agents}`,
    `${figure.upstream429} of ${figure.requests} (${figure.upstream429Percent} %)`,
    figure.makespanRatio === null ? '–' : String(figure.makespanRatio),
    `${figure.waitP50S} / ${figure.waitP99S} s`,
    idealWaitP50S === undefined ? '–' : `${idealWaitP50S} / ${idealWaitP99S} s`,
    String(figure.jain),
    inputUsedPercent === undefined ? '–' : `${inputUsedPercent} / ${outputUsedPercent} %`,
  ]
}
