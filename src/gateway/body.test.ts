import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { BodyBudget, dropBody, readBody } from './body.ts'

function arriving(headers: IncomingMessage['headers'] = {}): IncomingMessage {
  const request = new IncomingMessage(new Socket())
  request.headers = headers
  return request
}

describe('readBody', () => {
  it('gives the bytes as they came and takes as many of the budget', async () => {
    const budget = new BodyBudget(100)
    const request = arriving()
    const read = readBody(request, 100, budget)
    request.push(Buffer.from('one '))
    request.push(Buffer.from('two'))
    request.push(null)
    expect(await read).toEqual({ kind: 'whole', body: Buffer.from('one two') })
    expect(budget.used).toBe(7)
  })

  it('refuses a declared length over the maximum before a byte is read', async () => {
    const request = arriving({ 'content-length': '11' })
    const read = await readBody(request, 10, new BodyBudget(100))
    expect(read).toEqual({ kind: 'body_too_large' })
    expect(request.listenerCount('data')).toBe(0)
  })

  it('believes no declared length that is too small', async () => {
    const budget = new BodyBudget(100)
    const request = arriving({ 'content-length': '1' })
    const read = readBody(request, 10, budget)
    request.push(Buffer.alloc(11))
    expect(await read).toEqual({ kind: 'body_too_large' })
    expect(budget.used).toBe(0)
  })

  it('gives back what it took when the caller goes or the memory is full', async () => {
    const budget = new BodyBudget(10)
    const gone = arriving()
    const reading = readBody(gone, 100, budget)
    gone.once('data', () => gone.destroy())
    gone.push(Buffer.alloc(8))
    expect(await reading).toEqual({ kind: 'caller_gone' })
    const second = arriving()
    const over = readBody(second, 100, budget)
    second.push(Buffer.alloc(8))
    second.push(Buffer.alloc(8))
    expect(await over).toEqual({ kind: 'memory_full' })
    expect(budget.used).toBe(0)
  })
})

describe('dropBody', () => {
  it('takes in the rest of a body', async () => {
    const request = arriving()
    const dropped = dropBody(request, new VirtualClock())
    request.push(Buffer.alloc(100_000))
    request.push(null)
    await dropped
    expect(request.readableEnded).toBe(true)
  })

  it('does not wait for ever', async () => {
    const clock = new VirtualClock()
    const dropped = dropBody(arriving(), clock)
    clock.advanceTo(5000)
    await dropped
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('BodyBudget', () => {
  it('never lets out more than its total, and is whole again when all is given back', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.array(fc.nat(300)), (total, wishes) => {
        const budget = new BodyBudget(total)
        const taken = wishes.filter((bytes) => budget.take(bytes))
        const sum = taken.reduce((all, bytes) => all + bytes, 0)
        expect(budget.used).toBe(sum)
        expect(sum).toBeLessThanOrEqual(total)
        for (const bytes of taken) budget.giveBack(bytes)
        expect(budget.used).toBe(0)
      }),
    )
  })
})
