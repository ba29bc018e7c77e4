// The very scripts that ship, on a clock that the test sets. Owns: the exchange of lib/clock for one that
// reads a key, the string `clock` beside the resource's others, in milliseconds. Must not know: what any
// script does.
import type { Script } from '../../src/stores/redis/script.ts'

/** As the build marks it. */
const CLOCK = /(?<=^-- lib\/clock\n)[\s\S]*?(?=^-- end lib\/clock\n)/m

const TEST_CLOCK = `local function server_now()
  return tonumber(redis.call('GET', (string.gsub(key.state, 'state$', 'clock'))))
end
`

/** Each resource has a clock of its own, since in a cluster each is on one node. */
export function withTestClock<Scripts extends Readonly<Record<string, Script<never>>>>(
  scripts: Scripts,
): Scripts {
  const entries = Object.entries(scripts)
  if (!entries.some(([, { libs }]) => CLOCK.test(libs))) throw new Error('no script has lib/clock')
  const changed = entries.map(([name, script]) => [name, onTestClock(script)] as const)
  return Object.assign({}, scripts, Object.fromEntries(changed))
}

function onTestClock(script: Script<never>): Script<never> {
  return { ...script, libs: script.libs.replace(CLOCK, () => TEST_CLOCK) }
}
