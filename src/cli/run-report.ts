// How a run has ended, as it is told. Owns: the sums, why there is no more, what to do, and the exit code. Must not
// know: how a job is run.
import type { Job, RunEnd } from '../fleet/job/job.ts'
import type { Failed } from '../fleet/payload.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'
import { dollars } from './run-progress.ts'
import { amountInWords, countOf, plain, spanInWords } from './terminal/words.ts'

/** It ends where it should not. */
const WRONG: readonly RunEnd['kind'][] = ['alike', 'batch_out_of_reach', 'broken', 'shut_out']

export interface Report {
  readonly job: Job
  readonly end: RunEnd
  readonly tookMs: number
  readonly isJson: boolean
}

export function report({ job, end, tookMs, isJson }: Report, io: Io): ExitCode {
  const { stdout, stderr } = io
  const reason = reasonOf(end, job)
  const isWrong = WRONG.includes(end.kind)
  if (isJson) stdout.write(`${JSON.stringify(eventOf({ job, end, tookMs, reason }, io))}\n`)
  else for (const line of sumsOf(job, tookMs)) stdout.write(`${line}\n`)
  if (reason !== null && (isWrong || !isJson)) (isWrong ? stderr : stdout).write(`${reason}\n`)
  if (isWrong) return EXIT.failed
  return end.kind === 'finished' && job.standing.failed === 0 ? EXIT.ok : EXIT.partial
}

type Ended = Pick<Report, 'job' | 'end' | 'tookMs'> & { readonly reason: string | null }

function eventOf({ job, end, tookMs, reason }: Ended, { clock }: Io) {
  const { total, answered, failed, open } = job.standing
  return {
    time: new Date(clock.now()).toISOString(),
    event: 'run.ended',
    end: end.kind,
    total,
    answered,
    failed,
    open,
    inBatches: job.inSentBatches,
    spentUsd: job.spentNanoUsd / 1e9,
    tookMs: Math.round(tookMs),
    reason,
  }
}

function sumsOf({ standing, spentNanoUsd, paths }: Job, tookMs: number): string[] {
  const { total, answered, failed, open, unpriced } = standing
  const left = open > 0 ? `, ${amountInWords(open)} left` : ''
  const counts = `${amountInWords(answered)} answered, ${amountInWords(failed)} failed${left}`
  const spent = `${dollars(spentNanoUsd)}${unpriced > 0 ? ' and what has no known price' : ''}`
  return [
    `${countOf(total, 'prompt')}: ${counts}; ${spent}; ${spanInWords(tookMs)}.`,
    ...(failed > 0
      ? [`Why they failed: ${paths.failures}. To run them again: --retry-failed.`]
      : []),
  ]
}

/** Why there is no more, and what to do; null where nothing is left. */
function reasonOf(end: RunEnd, { inSentBatches }: Job): string | null {
  switch (end.kind) {
    case 'finished':
      return null
    case 'stopped':
      return inSentBatches === 0
        ? 'Stopped. The same command goes on from here.'
        : `Stopped. ${countOf(inSentBatches, 'prompt')} went to the provider as batches: the same command takes their answers, and goes on.`
    case 'budget_exceeded':
      return `The next prompt could cost more than is left of $${end.maxSpendUsd}. With a larger --max-spend-usd the same command goes on.`
    case 'quota_exhausted':
      return `Used up: ${end.limit}. There is room again at ${new Date(end.resumeAt).toISOString()}: the same command goes on then.`
    case 'shut_out':
      return `headgate: nothing more is taken from this key (${whyOf(end)}). Nothing is lost: mend that, and run the same command again.`
    case 'batch_out_of_reach':
      return `headgate: a batch of this job cannot be read (${whyOf(end)}). It stays pending: with the key that it was sent with the same command goes on.`
    case 'alike': {
      const { prompts, error } = end
      return `headgate: the first ${prompts} prompts have all failed alike (${whyOf(error)}). Mend that, and run the same command with --retry-failed. Prompts that you change need another output.`
    }
    case 'broken':
      return end.problems.join('\n')
  }
}

/** Without a status it was this gate itself that said no. */
const whyOf = ({ status, message }: Pick<Failed['error'], 'status' | 'message'>): string =>
  `${status === null ? '' : `${status}: `}${plain(message).replace(/\.$/, '')}`
