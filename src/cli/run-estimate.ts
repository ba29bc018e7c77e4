// headgate run --dry-run: what a job would take. Owns: what is printed of it. Must not know: how it is
// estimated.
import type { Clock } from '../core/clock.ts'
import { NANO_PER_USD } from '../core/money.ts'
import { bindsMoney } from '../dispatch/call-accounts.ts'
import { PolicyInForce } from '../engine/policy-in-force.ts'
import { chooseRoute } from '../fleet/batch/choose-route.ts'
import { type ForecastCost, JobForecast, PromptForecaster } from '../fleet/job/estimate.ts'
import { Input } from '../fleet/job/input.ts'
import { limitsOf, type Settings } from '../policy/settings.ts'
import { ANONYMOUS } from '../policy/subject.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Output } from './io.ts'
import type { RunFlags } from './run-flags.ts'
import { dollars } from './run-progress.ts'
import { columns } from './terminal/columns.ts'
import { amountInWords, countOf, plain, spanInWords } from './terminal/words.ts'

export interface EstimateOptions {
  readonly inputPath: string
  readonly flags: RunFlags
  readonly settings: Settings
  readonly clock: Clock
  readonly stdout: Output
}

/** @throws JobError for an input that cannot be run */
export async function runEstimate(options: EstimateOptions): Promise<ExitCode> {
  const { inputPath, flags, settings, clock, stdout } = options
  await using input = await Input.open(inputPath, { skipsBad: flags.skipBad ?? false })
  const { callRules } = new PolicyInForce(settings, null)
  const forecaster = new PromptForecaster(clock, callRules)
  const forecast = new JobForecast()
  let bad = 0
  for await (const line of input.read(() => true)) {
    if (line.kind === 'bad') bad++
    else forecast.add(line.payload.params.model, forecaster.forecast(line.payload.params))
  }
  const limits = (group: string) => limitsOf(settings.providers.anthropic.limits, group) ?? []
  const { within, maxSpendUsd } = flags
  const directMs = forecast.directMs(limits)
  const isBound = bindsMoney(callRules.subjects.of(ANONYMOUS))
  const against =
    within === undefined ? null : againstBatches({ within, directMs, isBound }, forecast)
  const goesInBatches = within !== undefined && against === null
  const cost = costOf(forecast, goesInBatches)
  stdout.write(
    columns([
      ['prompts', amountInWords(forecast.prompts)],
      ...(bad > 0 ? [['bad lines', amountInWords(bad)]] : []),
      ['input tokens', `about ${amountInWords(forecast.inputTokens)}`],
      ['output tokens', `about ${amountInWords(forecast.outputTokens)}`],
      ...(within === undefined
        ? []
        : [['in batches', against ?? countOf(forecast.batchable, 'prompt')]]),
      ['cost', costInWords(cost, forecast)],
      ...(goesInBatches ? [['one by one', costInWords(costOf(forecast, false), forecast)]] : []),
      ...[...forecast.unpriced].map(([model, prompts]) => [
        'no known price',
        `${plain(model)}, ${countOf(prompts, 'prompt')}`,
      ]),
      ['time', goesInBatches ? BATCH_TIME : timeInWords(forecast.leastMs(limits))],
    ]),
  )
  if (maxSpendUsd !== undefined && cost.expected > maxSpendUsd * NANO_PER_USD)
    stdout.write(`That is likely to be more than --max-spend-usd ${maxSpendUsd}.\n`)
  return EXIT.ok
}

const BATCH_TIME = 'mostly within an hour, a day at most'

interface Plan {
  readonly within: number
  readonly directMs: number
  /** Whether a budget binds the prompts. */
  readonly isBound: boolean
}

/** Why none goes as a batch, by what the run itself decides by; null where they do. */
function againstBatches(
  { within, directMs, isBound }: Plan,
  { batchable }: JobForecast,
): string | null {
  if (batchable === 0) return 'none: they are not known to be cheaper there'
  if (isBound) return 'none: a budget is kept, and what a batch costs is known only in the end'
  if (chooseRoute({ leftMs: within, directMs }) === 'batch') return null
  return 'none: --within leaves no time to send all one by one, should a batch disappoint'
}

function costOf(forecast: JobForecast, inBatches: boolean): ForecastCost {
  const { expectedNanoUsd, worstNanoUsd, expectedSavingNanoUsd, worstSavingNanoUsd } = forecast
  if (!inBatches) return { expected: expectedNanoUsd, worst: worstNanoUsd }
  return {
    expected: expectedNanoUsd - expectedSavingNanoUsd,
    worst: worstNanoUsd - worstSavingNanoUsd,
  }
}

function costInWords(
  { expected, worst }: ForecastCost,
  { prompts, unpriced }: JobForecast,
): string {
  const without = [...unpriced.values()].reduce((sum, count) => sum + count, 0)
  if (without === prompts) return 'not known'
  const sum = `about ${dollars(expected)}, at most ${dollars(worst)}`
  return without === 0 ? sum : `${sum}, without what has no known price`
}

const timeInWords = (ms: number | null): string => {
  if (ms === null) return 'not known: no limits are configured'
  return ms === 0
    ? 'within what the limits allow at once'
    : `${spanInWords(ms)} or more, by the limits`
}
