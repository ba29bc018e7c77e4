// A fleet's payloads and its ledger, of which either may be there first at a kill: what is sent is on record
// before it is, and what it used before anybody has the answer. Must not know: how long a commit takes.
import { mkdtemp, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import os from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, expect, it } from 'vitest'
import { Fleet } from '../../src/fleet/fleet.ts'
import { stubUpstream } from '../stub-upstream.ts'

const folder = await mkdtemp(path.join(os.tmpdir(), 'headgate-fleet-ledger-'))
afterAll(() => rm(folder, { recursive: true }))

const MODEL = 'claude-haiku-4-5'
const MOST_TOKENS = 4000
/** With all the output that it allows. */
const AT_MOST_NANO_USD = MOST_TOKENS * 5000
const ANSWER = JSON.stringify({
  type: 'message',
  model: MODEL,
  content: [],
  usage: { input_tokens: 10, output_tokens: 7 },
})
const ANSWER_NANO_USD = 10 * 1000 + 7 * 5000

const payloads = (count: number) =>
  Array.from({ length: count }, () => ({
    model: MODEL,
    max_tokens: MOST_TOKENS,
    messages: [{ role: 'user', content: 'Tell me more.' }],
  }))

function answer(response: ServerResponse): void {
  response.setHeader('content-type', 'application/json')
  response.end(ANSWER)
}

/** A column of what other programs find in the file at this moment. */
function columnIn(file: string, question: string): readonly unknown[] {
  const database = new Database(file, { readonly: true })
  try {
    return database.prepare(question).pluck().all()
  } finally {
    database.close()
  }
}

const fleetOf = (url: string, file: string): Fleet =>
  new Fleet({
    apiKey: 'a-key',
    baseUrl: url,
    config: { ledger: `sqlite:${file}` },
    maxInFlight: 1,
  })

it('has each sending on record before it is sent, and its cost before its result', async () => {
  const file = path.join(folder, 'first.db')
  const setAside: (readonly unknown[])[] = []
  await using upstream = await stubUpstream((response) => {
    setAside.push(columnIn(file, 'SELECT amount FROM reservations'))
    answer(response)
  })
  await using fleet = fleetOf(upstream.url, file)
  const booked: unknown[] = []
  for await (const result of fleet.dispatch(payloads(5))) {
    expect(result).toMatchObject({ kind: 'answered', costNanoUsd: ANSWER_NANO_USD })
    booked.push(...columnIn(file, 'SELECT sum(cost) FROM events'))
  }
  expect(booked).toEqual([1, 2, 3, 4, 5].map((answers) => answers * ANSWER_NANO_USD))
  expect(setAside.map((amounts) => amounts.length)).toEqual([1, 1, 1, 1, 1])
  for (const [amount] of setAside) expect(amount).toBeGreaterThan(AT_MOST_NANO_USD)
})

it('charges the most where nobody tells what was used', async () => {
  const file = path.join(folder, 'most.db')
  let isFirst = true
  await using upstream = await stubUpstream((response) => {
    if (isFirst) response.destroy()
    else answer(response)
    isFirst = false
  })
  await using fleet = fleetOf(upstream.url, file)
  for await (const { kind } of fleet.dispatch(payloads(1))) expect(kind).toBe('answered')
  const [broken, answered] = columnIn(file, 'SELECT cost FROM events ORDER BY attempt')
  expect(broken).toBeGreaterThan(AT_MOST_NANO_USD)
  expect(answered).toBe(ANSWER_NANO_USD)
})
