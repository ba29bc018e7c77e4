// Preloaded into programs that take time from the platform, such as the official SDK: their dates and
// their timers run as fast as everybody's. Must not know: which program it is in.
import { scaledClock, scaleOfEnv } from './scaled-clock.ts'

const scale = scaleOfEnv()
const { now } = scaledClock(scale)
const setRealTimeout = globalThis.setTimeout

globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
})

Object.defineProperty(globalThis, 'setTimeout', {
  value: (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
    setRealTimeout(run, ms / scale.speed, ...args),
})
