// headgate, with all its commands, on the time of the run. Must not know: which command is given.
import { systemIo } from '../../src/cli/io.ts'
import { main } from '../../src/cli/main.ts'
import { scaledClock, scaleOfEnv } from './scaled-clock.ts'

process.exitCode = await main(process.argv.slice(2), {
  ...systemIo(),
  clock: scaledClock(scaleOfEnv()),
})
