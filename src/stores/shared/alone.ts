// Having resources to oneself. Must not know: what for.
import type { Side } from './side.ts'

/**
 * Does something while no operation on the sides is under way. Others wait until it is done, and
 * so does whoever else wants them alone.
 *
 * @param work must not reject.
 * @param after is done with each of them before any operation goes on.
 */
export async function alone(
  sides: readonly Side[],
  work: () => Promise<void>,
  after: (side: Side) => void,
): Promise<void> {
  for (;;) {
    const busy = sides.find(({ isSwitching }) => isSwitching)
    if (!busy) break
    await busy.switching
  }
  const { promise, resolve } = Promise.withResolvers<void>()
  for (const side of sides) side.switching = promise
  for (const side of sides) await side.pending.none()
  await work()
  for (const side of sides) side.switching = null
  for (const side of sides) after(side)
  resolve()
}
