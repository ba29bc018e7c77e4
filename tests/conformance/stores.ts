// The stores under test. Owns: how each is opened on virtual time. Must not know: what is asked of it.
import { VirtualClock } from '../../src/core/clock.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import type { StoreUnderTest } from './store-contract.ts'

export const memory: StoreUnderTest = {
  exempt: [],
  async open(settingsOf, startAt) {
    const clock = new VirtualClock(startAt)
    return {
      store: new MemoryStore(clock, settingsOf),
      clock,
      advance: async (to) => clock.advanceTo(to),
      delivered: async () => {},
      lifeOf: () => 'memory',
    }
  },
}
