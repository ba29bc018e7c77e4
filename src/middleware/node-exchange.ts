// One request on a socket of Node. Owns: when it has ended, and its headers. Must not know: which
// framework stands on it.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller, CallerName } from './callers.ts'
import type { Limiter } from './limiter.ts'
import type { RefusalAnswer } from './refusal-answer.ts'
import type { Entrance } from './visit.ts'

/** How a program names its callers, beside its framework's own request. */
export interface AdapterOptions<Request> {
  /**
   * Who sends a request. Null or nothing: anybody.
   *
   * @default by the key in `x-headgate-key` or `x-api-key`; without one, anybody
   */
  readonly identify?: (request: Request) => Answered<CallerName | null | undefined>
}

type Answered<T> = T | Promise<T>

/** Who calls, as the program's options say. */
export async function callerOf<Request>(
  request: Request,
  header: (name: string) => string | null,
  { identify }: AdapterOptions<Request>,
): Promise<Caller> {
  return identify ? { kind: 'named', name: await identify(request) } : { kind: 'shown', header }
}

/** A request's own headers, as Node gives them. */
export function headerOf({ headers }: IncomingMessage): (name: string) => string | null {
  return (name) => {
    const value = headers[name]
    return value === undefined ? null : String(value)
  }
}

/** Waits for a request's turn, and ends it with its response. */
export async function enter(
  limiter: Limiter,
  response: ServerResponse,
  caller: () => Promise<Caller>,
): Promise<Entrance> {
  const visit = limiter.visit()
  visit.onHeaders = (headers) => {
    if (response.headersSent) return
    for (const name in headers) response.setHeader(name, headers[name] ?? '')
  }
  // Before anything is awaited: it tells of every way in which a response can end.
  response.once('close', () => visit.end())
  try {
    return await visit.enter(await caller())
  } catch (error) {
    visit.end()
    throw error
  }
}

/** Writes a refusal, where the answer has not begun. */
export function sendAnswer(
  response: ServerResponse,
  { status, headers, body }: RefusalAnswer,
): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  response.writeHead(status, { ...headers, 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
