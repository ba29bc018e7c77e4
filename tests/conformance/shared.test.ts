import { setImmediate } from 'node:timers/promises'
import { VirtualClock } from '../../src/core/clock.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { SharedStore } from '../../src/stores/shared/shared-store.ts'
import { FakeServer } from '../shared/fake-gates.ts'
import { storeContract } from './store-contract.ts'

storeContract('shared', {
  exempt: [],
  async open(settingsOf, startAt) {
    const clock = new VirtualClock(startAt)
    const shared = new FakeServer(clock, settingsOf).connect('one')
    const store = new SharedStore({
      clock,
      random: () => 0.5,
      shared,
      settingsOf,
      localStore: (localSettingsOf) => new MemoryStore(clock, localSettingsOf),
      onFailure: 'degrade',
      events: {
        degraded: ({ why }) => {
          throw new Error(why)
        },
        returned: () => {},
        tellFailed: (error) => {
          throw error
        },
      },
    })
    return {
      store,
      clock,
      async advance(to) {
        while (clock.nextAt() <= to) {
          clock.step()
          await setImmediate()
        }
        clock.advanceTo(to)
      },
      delivered: () => setImmediate(),
      lifeOf: (resource) => shared.lifeOf(resource),
    }
  },
})
