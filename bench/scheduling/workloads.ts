// What agents ask. Owns: the seeded eleven agents, and bodies whose tokens only the provider knows.

import { seededRandom } from '../../src/core/random.ts'
import type { Agent, Step } from './run-agents.ts'

export const MODEL = 'claude-sonnet-4-5'

/** A body of so many bytes of prompt, without any caching. */
export function plainBody(promptBytes: number, maxTokens: number): Buffer {
  return Buffer.from(
    JSON.stringify({
      model: MODEL,
      max_tokens: maxTokens,
      stream: true,
      messages: [{ role: 'user', content: 'x'.repeat(promptBytes) }],
    }),
  )
}

/** Prompts of prose and code differ: bytes a token scatter around their mean by so much either way. */
const SCATTER = 0.1
const BYTES_PER_TOKEN = 3.4

function between(random: () => number, least: number, most: number): number {
  return Math.round(least + random() * (most - least))
}

function logNormal(random: () => number, median: number, sigma: number): number {
  const gauss = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.max(1, Math.round(median * Math.exp(sigma * gauss)))
}

export interface AgentOptions {
  readonly name: string
  readonly seed: number
  readonly steps: number
  readonly sockets?: number
  readonly maxTokens?: number
  /** Prompts between these, drawn so that small ones are common. */
  readonly inputTokens?: readonly [number, number]
  readonly outputMedian?: number
}

/** One agent of mixed sizes: most requests small, some large. */
export function mixedAgent(options: AgentOptions): Agent {
  const { name, seed, steps, sockets, maxTokens = 4096 } = options
  const [least, most] = options.inputTokens ?? [300, 8000]
  function* draw(): Generator<Step> {
    const random = seededRandom(seed)
    for (let index = 0; index < steps; index++) {
      const inputTokens = Math.round(least * (most / least) ** random())
      const bytes = Math.round(
        inputTokens * BYTES_PER_TOKEN * (1 - SCATTER + 2 * SCATTER * random()),
      )
      const outputTokens = Math.min(maxTokens, logNormal(random, options.outputMedian ?? 250, 0.6))
      yield {
        thinkMs: between(random, 500, 4000),
        ask: {
          agent: name,
          maxTokens,
          body: plainBody(bytes, maxTokens),
          work: {
            model: MODEL,
            inputTokens,
            prefixes: [],
            outputTokens,
            ttftMs: between(random, 400, 1200),
            tokensPerSecond: 80,
          },
        },
      }
    }
  }
  return { name, steps: draw, ...(sockets !== undefined && { sockets }) }
}

export function elevenAgents(steps: number, seed = 11): Agent[] {
  return Array.from({ length: 11 }, (_, index) =>
    mixedAgent({ name: `agent-${index + 1}`, seed: seed * 1000 + index, steps }),
  )
}

/** Agents that ask the very same requests, each in an order of its own. */
export function equalAgents(count: number, steps: number): Agent[] {
  const template = [...{ [Symbol.iterator]: mixedAgent({ name: 'any', seed: 300, steps }).steps }]
  return Array.from({ length: count }, (_, index) => {
    const name = `equal-${index + 1}`
    function* shuffled(): Generator<Step> {
      const random = seededRandom(310 + index)
      const order = template.map((step) => ({ step, at: random() })).sort((a, b) => a.at - b.at)
      for (const { step } of order) {
        const { maxTokens, body, work } = step.ask
        yield {
          thinkMs: step.thinkMs,
          ask: { agent: name, maxTokens, body: Buffer.from(body), work: { ...work } },
        }
      }
    }
    return { name, steps: shuffled }
  })
}
