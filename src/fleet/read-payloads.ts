// A file of prompts as payloads. Must not know: what a line looks like (job/dialects.ts), or who takes them.
import { Input } from './job/input.ts'
import type { Payload } from './payload.ts'

/**
 * The prompts of a file with one on each line, in any form that `headgate run` takes. They are read when they are
 * taken, after one look at the whole file. A prompt without an id is called by the number of its line.
 *
 * @throws JobError, with `problems`, where there is no such file or it has no prompts in it, for lines that are
 *   none, and when the file changes while it is read
 */
export async function* readPayloads(path: string): AsyncGenerator<Payload, void, undefined> {
  await using input = await Input.open(path, { skipsBad: false })
  for await (const line of input.read(() => true)) if (line.kind === 'prompt') yield line.payload
}
