// How a command ends. Must not know: any command.

export const EXIT = {
  ok: 0,
  /** It failed at run time: the port is taken, the store is gone. */
  failed: 1,
  /** It was asked wrongly: an unknown flag, a mistake in the configuration. */
  usage: 2,
  /** A job has ended before all of its prompts were answered; the same command goes on. */
  partial: 3,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]
