// What can be set on the emulator: one schema holds every key, its default and its check.
import { z } from 'zod'
import { faultChanges, NO_FAULTS } from './faults.ts'

const amount = z.number().int().positive()

/** Limits of one model class, each a minute. */
const classLimits = z.strictObject({
  requests: amount,
  inputTokens: amount,
  outputTokens: amount,
})

const settingsSchema = z.strictObject({
  /** Limits of every model class that `limitsByClass` does not name. @default the entry tier's */
  limits: classLimits.default({ requests: 50, inputTokens: 30_000, outputTokens: 8_000 }),
  /** Limits of single classes by name, such as `claude-sonnet-4`; what is left out is as in `limits`. */
  limitsByClass: z.record(z.string(), classLimits.partial()).default({}),
  /** Requests a minute of the pools beside the models: they share nothing with them. */
  poolRequests: z
    .strictObject({
      count_tokens: amount.default(100),
      batches: amount.default(50),
      other: amount.default(600),
    })
    .prefault({}),
  /**
   * How many requests may come at once. Their minute is then enforced in slices, as the provider
   * says it may do ("60 RPM may be enforced as 1 request per second"), which no header shows.
   * @default the whole minute's amount
   */
  requestBurst: amount.optional(),
  /** Credential to organization. A credential that is not listed is an organization of its own. */
  organizations: z.record(z.string(), z.string()).default({}),
  /** The share of the input limit that someone outside uses up, in requests of random size. */
  externalShare: z.number().min(0).max(1).default(0),
  /** Time to first token. */
  ttftMs: z.number().min(0).default(600),
  /** How fast one answer is generated. */
  tokensPerSecond: z.number().positive().default(80),
  /** How long answers are that the request does not fix: log-normal, before `max_tokens` cuts them. */
  output: z
    .strictObject({
      medianTokens: z.number().positive().default(300),
      sigma: z.number().min(0).default(0.6),
    })
    .prefault({}),
  /** How long a batch takes, whatever its size. Longer than `batchExpiryMs`, it does not get through. */
  batchMs: z.number().min(0).default(60_000),
  /** What is not processed after so long expires. @default the provider's day */
  batchExpiryMs: z.number().positive().default(86_400_000),
  /** Requests of one organization that may be in batches at once. */
  batchQueue: amount.default(200_000),
  /** Faults from the start on; `POST /emulator/faults` changes them. */
  faults: faultChanges.default({}).transform((changes) => ({ ...NO_FAULTS, ...changes })),
  /** N: buckets refill, caches expire, answers and batches are done N times as fast in real time. */
  timeScale: z.number().positive().default(1),
})

/** What a user may write. */
export type EmulatorOptions = z.input<typeof settingsSchema>

/** Every setting, resolved. */
export type EmulatorSettings = Readonly<z.output<typeof settingsSchema>>

export type ClassLimits = Readonly<z.output<typeof classLimits>>

/** Fills in defaults. Throws a `ZodError` that names every wrong key. */
export function resolveEmulatorSettings(options: EmulatorOptions = {}): EmulatorSettings {
  return settingsSchema.parse(options)
}

/** The limits of one model class. */
export function limitsOf(settings: EmulatorSettings, modelClass: string): ClassLimits {
  const own = settings.limitsByClass[modelClass]
  return {
    requests: own?.requests ?? settings.limits.requests,
    inputTokens: own?.inputTokens ?? settings.limits.inputTokens,
    outputTokens: own?.outputTokens ?? settings.limits.outputTokens,
  }
}
