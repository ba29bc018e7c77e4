// One operation on the shared state, as scripts.generated.ts has it. Owns: its shape, and how numbers
// are sent to Lua. Must not know: any operation, or how a script gets to the server.

export interface Script<Args> {
  readonly name: string
  /** What the script's keys are, in the order of KEYS. */
  readonly keys: readonly string[]
  /** What the body stands on: the same text for all operations of a program. */
  readonly libs: string
  /** Reads its keys and arguments from KEYS and ARGV, then does what it is for. */
  readonly body: string
  /** Named arguments in the order of ARGV. */
  readonly args: (args: Args) => (string | Buffer)[]
}

/** Numbers as Lua's `struct` reads them: eight bytes each, the least significant first. */
export function doubles(numbers: readonly number[]): Buffer {
  const packed = Buffer.allocUnsafe(8 * numbers.length)
  for (const [index, number] of numbers.entries()) packed.writeDoubleLE(number, 8 * index)
  return packed
}
