// Runs parts of the Lua that the Redis store is made of, on a real server. Owns: putting a script
// together from files, without what an operation adds to them. Must not know: what any part does.
import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { z } from 'zod'
import { freshPrefix, sharedRedis } from '../servers/redis.ts'

const LIBS = new URL('../../src/stores/redis/scripts/lib/', import.meta.url)

const answersSchema = z.array(z.array(z.string()))

export interface LuaRunner {
  /** What each operation answers, as text: numbers have all their digits. */
  run(operations: readonly object[]): Promise<readonly (readonly string[])[]>
  close(): Promise<void>
}

/** @param driver a file beside this one, run behind the libs. */
export async function luaRunner(driver: string, libs: readonly string[]): Promise<LuaRunner> {
  const { url } = await sharedRedis()
  const redis = new Redis(url)
  const lua = [
    `local key = { departures = KEYS[1] }`,
    ...withIncluded(libs).map((lib) => textOf(new URL(`${lib}.lua`, LIBS))),
    textOf(new URL(driver, import.meta.url)),
  ].join('\n')
  return {
    async run(operations) {
      const key = `${freshPrefix()}{gate}:departures`
      const answers = await redis.eval(lua, 1, key, JSON.stringify(operations))
      await redis.del(key)
      return answersSchema.parse(answers)
    },
    async close() {
      await redis.quit()
    },
  }
}

const textOf = (file: URL): string => readFileSync(file, 'utf8')

/** Each once, behind what it includes itself. */
function withIncluded(libs: readonly string[], found = new Set<string>()): string[] {
  for (const lib of libs) {
    const includes = textOf(new URL(`${lib}.lua`, LIBS)).matchAll(/^-- @include (\S+)$/gm)
    withIncluded(
      [...includes].flatMap(([, name]) => name ?? []).filter((name) => !found.has(name)),
      found,
    )
    found.add(lib)
  }
  return [...found]
}
