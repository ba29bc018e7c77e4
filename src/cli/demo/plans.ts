// What the demo's agents will do. Owns: drawing their plans. Must not know: how they are carried out.
import type { AgentPlan, Step } from './agent.ts'

/** Input tokens of one question. */
const SIZES = { small: 500, medium: 2000, large: 6000 } as const

const SIZE_ORDER = ['large', 'small', 'medium', 'small'] as const

const STEPS = 6
const SHORTEST_THINK_MS = 1000
const LONGEST_THINK_MS = 6000

/** Prompts differ by this much, up and down. */
const PROMPT_SPREAD = 0.3

/** Short words, each of them one token. */
const WORDS = ['read', 'the', 'file', 'then', 'run', 'its', 'test', 'and', 'mend', 'what', 'fail']

/** The same agents for the same random numbers. */
export function drawPlans(count: number, random: () => number): AgentPlan[] {
  return Array.from({ length: count }, (_, index) => {
    const size = SIZE_ORDER[index % SIZE_ORDER.length] ?? 'small'
    const steps = Array.from({ length: STEPS }, () => drawStep(SIZES[size], random))
    return { name: `agent-${index + 1}`, size, steps }
  })
}

function drawStep(tokens: number, random: () => number): Step {
  const inputTokens = Math.round(tokens * (1 + PROMPT_SPREAD * (2 * random() - 1)))
  const words = Array.from(
    { length: inputTokens },
    () => WORDS[Math.floor(random() * WORDS.length)],
  )
  const thinkMs = SHORTEST_THINK_MS + random() * (LONGEST_THINK_MS - SHORTEST_THINK_MS)
  return { prompt: words.join(' '), inputTokens, thinkMs }
}
