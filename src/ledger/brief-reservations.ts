// Which reservations need not be written. Owns: that rule. Must not know: where the others are kept.
import type { LedgerOperation } from './backend.ts'
import type { Reservation } from './ledger.ts'

/**
 * Reservations that bind no budget and end among the same operations, by their ids: nothing depends on
 * them.
 */
export function briefReservations(
  operations: readonly LedgerOperation[],
): ReadonlyMap<string, Reservation> {
  const brief = new Map<string, Reservation>()
  const begun = new Map<string, Reservation>()
  for (const operation of operations) {
    if (operation.kind === 'reserve') {
      const { reservation } = operation
      if (reservation.budgets.length > 0) continue
      begun.set(reservation.call.id, reservation)
      // Begun once more: it is brief only if it ends once more.
      brief.delete(reservation.call.id)
    } else if (operation.kind !== 'record') {
      const id = operation.kind === 'settle' ? operation.event.call.id : operation.id
      const reservation = begun.get(id)
      if (reservation) brief.set(id, reservation)
    }
  }
  return brief
}
