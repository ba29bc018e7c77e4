// How prompts are sent without Headgate: so many loops at once, each with the official SDK and the retries
// that it has by itself. Owns: counting what became of them. Usage: sdk-loop.ts URL FILE LOOPS [LANE]
import { open } from 'node:fs/promises'
import Anthropic, { APIError } from '@anthropic-ai/sdk'

const [url = '', path = '', loops = '', lane = ''] = process.argv.slice(2)
const defaultHeaders = lane === '' ? {} : { 'x-headgate-lane': lane }
const client = new Anthropic({ baseURL: url, defaultHeaders })
const file = await open(path)
const lines = file.readLines()[Symbol.asyncIterator]()
const failures: Record<string, number> = {}
let answered = 0

async function loop(): Promise<void> {
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    try {
      await client.messages.create(JSON.parse(line.value).params)
      answered++
    } catch (error) {
      const why = error instanceof APIError ? `${error.status ?? error.name}` : String(error)
      failures[why] = (failures[why] ?? 0) + 1
    }
  }
}

const startedAt = Date.now()
await Promise.all(Array.from({ length: Number(loops) }, loop))
process.stdout.write(`${JSON.stringify({ answered, failures, tookMs: Date.now() - startedAt })}\n`)
