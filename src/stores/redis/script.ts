// One operation on the shared state, as scripts.generated.ts has it. Owns: its shape, and how a number
// is spelt for Lua. Must not know: any operation, or how a script gets to the server.

export interface Script<Args> {
  readonly name: string
  /** What the script's keys are, in the order of KEYS. */
  readonly keys: readonly string[]
  /** What the body stands on: the same text for all operations of a program. */
  readonly libs: string
  /** Reads its keys and arguments from KEYS and ARGV, then does what it is for. */
  readonly body: string
  /** Named arguments in the order of ARGV. */
  readonly args: (args: Args) => string[]
}

/** Exact: the shortest decimal that reads as the same double again, and infinities as Lua prints them. */
export function numeral(x: number): string {
  if (x === Number.POSITIVE_INFINITY) return 'inf'
  return x === Number.NEGATIVE_INFINITY ? '-inf' : String(x)
}
