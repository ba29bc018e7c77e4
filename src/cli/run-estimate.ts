// headgate run --dry-run: what a job would take. Owns: what is printed of it. Must not know: how it is
// estimated.
import type { Clock } from '../core/clock.ts'
import { PolicyInForce } from '../engine/policy-in-force.ts'
import { JobForecast, PromptForecaster } from '../fleet/job/estimate.ts'
import { Input } from '../fleet/job/input.ts'
import { limitsOf, type Settings } from '../policy/settings.ts'
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
  const forecaster = new PromptForecaster(clock, new PolicyInForce(settings, null).callRules)
  const forecast = new JobForecast()
  let bad = 0
  for await (const line of input.read(() => true)) {
    if (line.kind === 'bad') bad++
    else forecast.add(line.payload.params.model, forecaster.forecast(line.payload.params))
  }
  const leastMs = forecast.leastMs(
    (group) => limitsOf(settings.providers.anthropic.limits, group) ?? [],
  )
  const rows = [
    ['prompts', amountInWords(forecast.prompts)],
    ...(bad > 0 ? [['bad lines', amountInWords(bad)]] : []),
    ['input tokens', `about ${amountInWords(forecast.inputTokens)}`],
    ['output tokens', `about ${amountInWords(forecast.outputTokens)}`],
    ['cost', costInWords(forecast)],
    ...[...forecast.unpriced].map(([model, prompts]) => [
      'no known price',
      `${plain(model)}, ${countOf(prompts, 'prompt')}`,
    ]),
    ['time', leastMs === null ? 'not known: no limits are configured' : timeInWords(leastMs)],
  ]
  const isTooDear =
    flags.maxSpendUsd !== undefined && forecast.expectedNanoUsd > flags.maxSpendUsd * 1e9
  stdout.write(columns(rows))
  if (isTooDear)
    stdout.write(`That is likely to be more than --max-spend-usd ${flags.maxSpendUsd}.\n`)
  return EXIT.ok
}

function costInWords({ prompts, unpriced, expectedNanoUsd, worstNanoUsd }: JobForecast): string {
  const without = [...unpriced.values()].reduce((sum, count) => sum + count, 0)
  if (without === prompts) return 'not known'
  const sum = `about ${dollars(expectedNanoUsd)}, at most ${dollars(worstNanoUsd)}`
  return without === 0 ? sum : `${sum}, without what has no known price`
}

const timeInWords = (ms: number): string =>
  ms === 0 ? 'within what the limits allow at once' : `${spanInWords(ms)} or more, by the limits`
