import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { locateLedger, parseLedgerAddress, USUAL_LEDGER } from './ledger-address.ts'

const here = { env: { HOME: '/home/ada' }, folder: '/srv', platform: 'linux' } as const

describe('the address of a ledger', () => {
  it.each([
    ['off', { kind: 'off', shown: 'off' }],
    ['sqlite:', { kind: 'sqlite', path: null, isDefault: false }],
    ['sqlite:./headgate.db', { kind: 'sqlite', path: './headgate.db' }],
    ['sqlite:/var/a b.db', { kind: 'sqlite', path: '/var/a b.db', shown: 'sqlite:/var/a b.db' }],
    ['postgres://db/headgate', { kind: 'postgres', shown: 'postgres://db/headgate' }],
    ['postgresql:///gate?host=/run/pg', { kind: 'postgres', shown: 'postgresql:///run/pg/gate' }],
  ])('%s', (text, value) => {
    expect(parseLedgerAddress(text)).toMatchObject({ kind: 'parsed', value })
  })

  it('never shows a password', () => {
    const url = 'postgres://ada:hunter2@db:5433/gate?password=hunter2&sslmode=require'
    expect(parseLedgerAddress(url)).toEqual({
      kind: 'parsed',
      value: { kind: 'postgres', url, shown: 'postgres://db:5433/gate' },
    })
  })

  it.each(['', 'postgres', 'mysql://db/x', 'sqlite::memory:', 'sqlite://a.db', 'sqlite:~/a.db'])(
    'is not %j',
    (text) => {
      expect(parseLedgerAddress(text)).toMatchObject({ kind: 'refused' })
    },
  )
})

describe('the file of a ledger', () => {
  const usual = (where: Partial<Parameters<typeof locateLedger>[1]>) => {
    const address = locateLedger(USUAL_LEDGER, { ...here, ...where })
    return address.kind === 'sqlite' ? address.file : address.kind
  }

  it('is in the data folder of the user', () => {
    const end = path.join('headgate', 'ledger.db')
    expect(usual({})).toBe(path.join('/home/ada/.local/share', end))
    expect(usual({ platform: 'darwin' })).toBe(
      path.join('/home/ada/Library/Application Support', end),
    )
    expect(usual({ platform: 'win32', env: { LOCALAPPDATA: '/local' } })).toBe(
      path.join('/local', end),
    )
    expect(usual({ env: { XDG_DATA_HOME: '/data' } })).toBe(path.join('/data', end))
  })

  it('is not where a relative XDG_DATA_HOME points', () => {
    expect(usual({ env: { HOME: '/home/ada', XDG_DATA_HOME: 'data' } })).toBe(usual({}))
  })

  it('is found from the folder in which the gate runs', () => {
    expect(
      locateLedger({ kind: 'sqlite', path: 'a.db', isDefault: false, shown: 'sqlite:a.db' }, here),
    ).toEqual({
      kind: 'sqlite',
      file: '/srv/a.db',
      isDefault: false,
      shown: 'sqlite:a.db',
    })
  })
})
