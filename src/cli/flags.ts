// The flags of commands. Owns: how options become flags that say what is wrong with a value. Must
// not know: what any flag does.
import { type Command, InvalidArgumentError, Option } from 'commander'
import { z } from 'zod'
import { OPTIONS } from '../policy/setting-table.ts'

/** Gives a command the flags of the settings. Their values are checked with the settings. */
export function addSettingFlags(command: Command): Command {
  for (const { name, flag, variable, doc, defaultText } of OPTIONS) {
    const option = new Option(bracketed(flag), `${doc} (default: ${defaultText}; ${variable})`)
    if (name === 'upstream') option.argParser(collect)
    command.addOption(option)
  }
  return command
}

/** A flag whose value the command line checks itself, written as in the help: `--seed N`. */
export function checkedFlag(flag: string, doc: string, type: z.ZodType): Option {
  return new Option(bracketed(flag), doc).argParser((text) => {
    const checked = type.safeParse(text)
    if (checked.success) return checked.data
    const why = checked.error.issues[0]?.message ?? 'is not understood'
    throw new InvalidArgumentError(`It ${why}.`)
  })
}

/** A number with or without fractions. Says what is wrong in a clause that begins with a verb. */
export function decimal(min: number, max = Number.MAX_SAFE_INTEGER) {
  const isOpen = max === Number.MAX_SAFE_INTEGER
  const error = `is not a number ${isOpen ? `of ${min} or more` : `from ${min} to ${max}`}`
  return z
    .string()
    .regex(/^\d*\.?\d+$/, { error })
    .transform(Number)
    .pipe(z.number().min(min, { error }).max(max, { error }))
}

/** `--port PORT` as commander writes it: `--port <PORT>`. */
const bracketed = (flag: string): string => flag.replace(/ (.+)$/, ' <$1>')

const collect = (text: string, before: readonly string[] = []): string[] => [...before, text]
