// The command line. Owns: which commands there are, their help, and how each of them ends. Must not
// know: what a command does.
import { Command, CommanderError } from 'commander'
import type { Flags } from '../policy/setting-table.ts'
import { addBudgetsCommand } from './budgets.ts'
import { addWhomFlags, type CheckFlags, runCheck } from './check.ts'
import { addDemoFlags, type DemoFlags, runDemo } from './demo.ts'
import { addEmulateFlags, type EmulateFlags, runEmulate } from './emulate.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { addSettingFlags } from './flags.ts'
import { type Io, systemIo } from './io.ts'
import { addKeysCommand } from './keys.ts'
import { runRun } from './run.ts'
import { addRunFlags, type RunFlags } from './run-flags.ts'
import { runWorker, type WorkerFlags } from './run-worker.ts'
import { runServe } from './serve.ts'
import { addStatusFlags, runStatus, type StatusFlags } from './status.ts'
import { headgateVersion } from './version.ts'

const EXAMPLES = `
Examples:
  headgate                   start the gate, as "headgate serve" does
  headgate demo              watch eleven agents share one quota
  headgate status --watch    see who waits, and for what
  headgate run a.jsonl -o b.jsonl
                             have a file of prompts answered
  headgate emulate           a fake provider with limits, to try things against
  headgate help serve        all flags of a command
`

/**
 * Runs one command.
 *
 * @param argv what follows the program's name
 * @returns the exit code; never ends the process itself
 */
export async function main(argv: readonly string[], io: Io = systemIo()): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.ok
  const program = createProgram(io, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync(withCommand(argv), { from: 'user' })
    return exitCode
  } catch (error) {
    // Help and versions end a run too, without being errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    io.stderr.write(`headgate: ${error instanceof Error ? error.message : String(error)}\n`)
    return EXIT.failed
  }
}

const ABOUT_THE_PROGRAM = new Set(['-h', '--help', '-V', '--version'])

/** Flags without a command are those of `serve`. */
function withCommand(argv: readonly string[]): string[] {
  const [first = ''] = argv
  const isServe = argv.length === 0 || (first.startsWith('-') && !ABOUT_THE_PROGRAM.has(first))
  return isServe ? ['serve', ...argv] : [...argv]
}

function createProgram(io: Io, end: (code: ExitCode) => void): Command {
  const program = new Command('headgate')
    .description('One gate in front of an LLM quota: requests wait their turn instead of failing.')
    .version(headgateVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
    })
    .addHelpText('after', EXAMPLES)
  // A subcommand inherits how errors and output are handled at the moment when it is made.
  const command = (name: string, doc: string): Command => program.command(name).description(doc)

  addSettingFlags(command('serve', 'Run the gate (the default).')).action(async (flags: Flags) =>
    end(await runServe(flags, io)),
  )
  addWhomFlags(
    addSettingFlags(command('check', 'Check the configuration and print what it amounts to.')),
  ).action(async (flags: CheckFlags) => end(await runCheck(flags, io)))
  addKeysCommand(program, io, end)
  addBudgetsCommand(program, io, end)
  addStatusFlags(command('status', 'Show what a running gate is doing.')).action(
    async (flags: StatusFlags) => end(await runStatus(flags, io)),
  )
  addRunFlags(command('run', 'Send a file of prompts, and keep the answers.')).action(
    async (input: string | undefined, flags: RunFlags | WorkerFlags) => {
      const isWorker = input === undefined || flags.output === undefined
      end(await (isWorker ? runWorker(flags, io) : runRun(input, flags, io)))
    },
  )
  addDemoFlags(command('demo', 'Watch agents with and without the gate.')).action(
    async (flags: DemoFlags) => end(await runDemo(flags, io)),
  )
  addEmulateFlags(command('emulate', 'Run a fake Anthropic API with limits.')).action(
    async (flags: EmulateFlags) => end(await runEmulate(flags, io)),
  )
  return program
}
