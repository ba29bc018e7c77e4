// Telling the coordinator that a lease or an ask is over. Owns: trying again while it is out of reach, and
// what its answers mean. Must not know: what becomes of them.
import type { ClientContext } from './context.ts'
import { errorOf, HeadgateError, LeaseLost } from './errors.ts'
import { Patience } from './patience.ts'
import { Lost, type Message } from './wire.ts'

/** Null: it is over there too. A LeaseLost: it was before. */
export async function tellEnd(
  context: ClientContext,
  message: Message,
): Promise<HeadgateError | null> {
  const { timings, wire } = context
  const patience = new Patience(context)
  try {
    for (;;) {
      try {
        const answer = await wire.exchange(message, Math.min(timings.answerMs, patience.leftMs))
        if (answer.kind === 'done') return null
        if (answer.problem.status !== 404) return errorOf(answer.problem)
        // An attempt whose answer was lost may have ended it.
        if (patience.failures > 0) return null
        return new LeaseLost(answer.problem.detail, answer.problem)
      } catch (error) {
        if (!(error instanceof Lost)) throw error
        await patience.outlast(error)
      }
    }
  } catch (error) {
    if (error instanceof HeadgateError) return error
    throw error
  }
}
