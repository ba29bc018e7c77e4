// The server's ceiling: functions that do to the data what an operation does, and decide nothing. Owns:
// how they are made from what MONITOR shows of an operation. Must not know: any operation.
import type { Ticket } from './gate-commands.ts'
import { type Reply, RespClient } from './resp-client.ts'

/** A command inside an operation: its name and operands, one character a byte. */
type InnerCall = readonly string[]

export interface SeenOperation {
  readonly calls: readonly InnerCall[]
  readonly reply: Reply
}

/** Runs commands one after the other, and sees what each does inside. */
export async function watch(
  url: string,
  client: RespClient,
  run: (see: (encoded: string) => Promise<SeenOperation>) => Promise<void>,
): Promise<void> {
  const watcher = await RespClient.connect(url)
  let seen: InnerCall[] = []
  let isSeen = (): void => {}
  watcher.watch((line) => {
    const call = operandsOf(line)
    if (/ \[\d+ lua\] /.test(line)) seen.push(call)
    else if (call[0] === 'ECHO') isSeen()
  })
  await watcher.call('MONITOR')
  await run(async (encoded) => {
    seen = []
    const ended = new Promise<void>((resolve) => {
      isSeen = resolve
    })
    const reply = await client.request(encoded)
    await client.call('ECHO', 'seen')
    await ended
    return { calls: seen, reply }
  })
  // Being watched costs the server more than the operations themselves.
  watcher.close()
}

/** MONITOR quotes as C does. */
function operandsOf(line: string): string[] {
  return Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, quoted = '']) =>
    quoted.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex: string | undefined, letter: string) =>
      hex ? String.fromCharCode(Number.parseInt(hex, 16)) : (ESCAPES[letter] ?? letter),
    ),
  )
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  a: '\x07',
  b: '\b',
}

/** Whose names are in an operation's calls: the ticket that it is about, and one that it admits. */
export interface Names {
  readonly own: Ticket
  readonly admitted: Ticket | null
}

/**
 * The text of a function that makes the same calls in the same order, with operands of the same size,
 * and gives an answer of the same size. The names come from its last four arguments. The operands
 * are constants but for those names; the index has its members with the same bytes between them each time,
 * so that what one call adds another one finds and removes.
 */
export function equalFunction(name: string, { calls, reply }: SeenOperation, names: Names): string {
  const words = new Map([
    [names.own.flow, 'flow'],
    [names.own.id, 'id'],
  ])
  if (names.admitted) words.set(names.admitted.flow, 'next_flow').set(names.admitted.id, 'next_id')
  const lines = calls.map((call) => {
    const isOfIndex = call[1]?.endsWith(':index') ?? false
    const operands = call.map((operand, at) =>
      spelt(operand, words, isOfIndex && at > 1 && !/^(LIMIT|\d+)$/.test(operand)),
    )
    return `  call(${operands.join(', ')})\n`
  })
  return `redis.register_function('${name}', function(keys, args)
  local call, n = redis.call, #args
  local id, flow, next_id, next_flow = args[n - 3], args[n - 2], args[n - 1], args[n]
${lines.join('')}  return ${luaValue(reply)}
end)
`
}

function spelt(operand: string, words: ReadonlyMap<string, string>, isMember: boolean): string {
  const pieces = operand.split(new RegExp(`(${[...words.keys()].join('|')})`))
  const spellings = pieces.flatMap((piece, at) => {
    const word = words.get(piece)
    if (word) return [word]
    return piece === '' ? [] : [luaText(isMember ? blanked(piece, at === 0) : piece)]
  })
  return spellings.join(' .. ') || "''"
}

/** Leaves a range's bracket, the letter of the order, and the end of a range. */
function blanked(piece: string, isFirst: boolean): string {
  const kept = isFirst ? (/^[[(]?./s.exec(piece)?.[0] ?? '') : ''
  return kept + piece.slice(kept.length).replace(/[^\xff]/g, '.')
}

function luaText(text: string): string {
  const spelled = text.replace(/[^ !#-[\]-~]/g, (char) => {
    const code = `${char.charCodeAt(0)}`
    return `\\${code.padStart(3, '0')}`
  })
  return `"${spelled}"`
}

function luaValue(reply: Reply): string {
  if (typeof reply === 'string') return luaText(reply)
  if (typeof reply === 'number') return `${reply}`
  if (reply === null || reply instanceof Error) return 'false'
  return `{ ${reply.map(luaValue).join(', ')} }`
}

/** Of operations seen many times, one that makes the most usual calls. */
export function mostUsual<T extends { readonly seen: SeenOperation }>(all: readonly T[]): T {
  const shapeOf = ({ seen }: T): string => seen.calls.map(([name]) => name).join(' ')
  const counts = new Map<string, number>()
  for (const one of all) counts.set(shapeOf(one), (counts.get(shapeOf(one)) ?? 0) + 1)
  const most = Math.max(...counts.values())
  const found = all.find((one) => counts.get(shapeOf(one)) === most)
  if (!found) throw new Error('no operation was seen')
  return found
}
