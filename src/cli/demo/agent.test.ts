import { createServer, type RequestListener } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { realClock } from '../../core/clock.ts'
import { Agent, type AgentPlan } from './agent.ts'

const plan: AgentPlan = {
  name: 'agent-1',
  size: 'small',
  steps: [
    { prompt: 'one', inputTokens: 10, thinkMs: 0 },
    { prompt: 'two', inputTokens: 20, thinkMs: 0 },
  ],
}

const cleanUps: (() => void)[] = []
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp()
})

/** An agent that asks this server, on a clock that makes seconds of milliseconds. */
async function openAgent(answer: RequestListener) {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUps.push(() => server.close().closeAllConnections())
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const told: string[] = []
  const clock = realClock(1000)
  const agent = new Agent(plan, {
    baseUrl: `http://127.0.0.1:${port}`,
    clock,
    random: () => 0,
    stop: new AbortController().signal,
    tell: (_, what) => told.push(what),
  })
  return { agent, told, clock }
}

describe('an agent', () => {
  it('is done when every step was answered', async () => {
    const { agent, told } = await openAgent((_, response) => response.end('fine'))
    await agent.run()
    expect(agent.state).toEqual({ kind: 'done' })
    expect(agent.stepsDone).toBe(2)
    expect(agent.inputTokensSpent).toBe(30)
    expect(told.at(-1)).toBe('done')
  })

  it('tries three times, as long apart as it is told, and then crashes', async () => {
    const { agent, told, clock } = await openAgent((_, response) =>
      response.writeHead(429, { 'retry-after': '30' }).end('no'),
    )
    const startedAt = clock.now()
    await agent.run()
    expect(clock.now() - startedAt).toBeGreaterThanOrEqual(60_000)
    expect(agent.state).toEqual({ kind: 'crashed', status: 429 })
    expect(agent.refusals).toBe(3)
    expect(agent.inputTokensSpent).toBe(0)
    expect(told).toEqual([
      '429, tries again in 30 s',
      '429, tries again in 30 s',
      'crashed: 429 after 3 tries',
    ])
  })

  it('waits half a second, then a whole one, where it is not told how long', async () => {
    let refusals = 2
    const { agent, told } = await openAgent((_, response) => {
      response.writeHead(refusals-- > 0 ? 529 : 200).end()
    })
    await agent.run()
    expect(agent.state).toEqual({ kind: 'done' })
    expect(agent.refusals).toBe(2)
    expect(told).toEqual(expect.arrayContaining(['529, tries again in 1 s', 'done']))
  })

  it('does not ask again what can never be answered', async () => {
    const { agent } = await openAgent((_, response) => response.writeHead(400).end())
    await agent.run()
    expect(agent.state).toEqual({ kind: 'crashed', status: 400 })
    expect(agent.refusals).toBe(1)
  })
})
