import { VirtualClock } from '../../src/core/clock.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { storeContract } from './store-contract.ts'

storeContract('memory', {
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
})
