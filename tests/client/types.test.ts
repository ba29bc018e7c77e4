// What the types of `headgate/client` promise to programs. The compiler is the one that checks them.
import type { fetch as undiciFetch } from 'undici'
import { describe, expectTypeOf, it } from 'vitest'
import type {
  AcquireOptions,
  CheckAnswer,
  ClientAcquireOptions,
  ClientEvent,
  ClientLease,
  ConnectOptions,
  Fetch,
  Headgate,
  HeadgateErrorCode,
  Lease,
  Load,
} from '../../src/client/connect.ts'
import {
  connect,
  type Forbidden,
  type HeadgateError,
  type Invalid,
  type LeaseLost,
  type Refused,
  type Unreachable,
} from '../../src/client/connect.ts'

const client: Headgate = connect({ url: 'http://127.0.0.1:4000' })

describe('the types', () => {
  it('of connect need a URL only', () => {
    expectTypeOf(connect).parameters.toEqualTypeOf<[ConnectOptions]>()
    expectTypeOf<{ url: string }>().toExtend<ConnectOptions>()
    expectTypeOf<{ key: string }>().not.toExtend<ConnectOptions>()
    expectTypeOf<ConnectOptions['onUnreachable']>().toEqualTypeOf<
      'fail_closed' | 'fail_open' | undefined
    >()
  })

  it('take the fetch of the platform, and undici’s', () => {
    expectTypeOf<typeof globalThis.fetch>().toExtend<Fetch>()
    expectTypeOf<typeof undiciFetch>().toExtend<Fetch>()
  })

  it('of acquire give a lease that a block can hold', () => {
    expectTypeOf(client.acquire).toBeCallableWith('model')
    expectTypeOf(client.acquire).parameter(1).toEqualTypeOf<ClientAcquireOptions | undefined>()
    expectTypeOf(client.acquire).returns.resolves.toEqualTypeOf<ClientLease>()
    expectTypeOf<ClientLease>().toExtend<Lease>()
    expectTypeOf<ClientLease>().toExtend<AsyncDisposable>()
    expectTypeOf<ClientLease['isGoverned']>().toEqualTypeOf<boolean>()
    expectTypeOf<ClientAcquireOptions>().toExtend<AcquireOptions>()
    expectTypeOf<ClientLease['settle']>().toBeCallableWith()
    expectTypeOf<ClientLease['settle']>().parameter(0).toEqualTypeOf<Load | undefined>()
  })

  it('of a load are a number or amounts by name', () => {
    expectTypeOf<15_000>().toExtend<Load>()
    expectTypeOf<{ input_tokens: 5 }>().toExtend<Load>()
    expectTypeOf<string>().not.toExtend<Load>()
    expectTypeOf<'urgent'>().not.toExtend<NonNullable<AcquireOptions['lane']>>()
  })

  it('of withLease give what the work gives', () => {
    const text = (): Promise<string> => client.withLease('model', {}, async () => 'text')
    expectTypeOf(text).returns.resolves.toEqualTypeOf<string>()
    const count = () => client.withLease('model', { load: 1 }, (lease) => lease.waitedMs)
    expectTypeOf(count).returns.resolves.toEqualTypeOf<number>()
  })

  it('of check give numbers', () => {
    expectTypeOf(client.check).returns.resolves.toEqualTypeOf<CheckAnswer>()
    expectTypeOf<CheckAnswer['max']>().toEqualTypeOf<number | null>()
    expectTypeOf<CheckAnswer['retryAfterMs']>().toEqualTypeOf<number | null>()
  })

  it('tell errors and events apart by one field', () => {
    expectTypeOf<
      Refused | Invalid | Forbidden | Unreachable | LeaseLost
    >().toExtend<HeadgateError>()
    type Codes = (Refused | Invalid | Forbidden | Unreachable | LeaseLost)['code']
    expectTypeOf<Codes>().toEqualTypeOf<HeadgateErrorCode>()
    expectTypeOf<Refused['retryAfterMs']>().toEqualTypeOf<number | null>()
    expectTypeOf<Extract<ClientEvent, { kind: 'lost' }>>().toHaveProperty('error')
    expectTypeOf<Extract<ClientEvent, { kind: 'reconnecting' }>>().not.toHaveProperty('id')
  })
})
