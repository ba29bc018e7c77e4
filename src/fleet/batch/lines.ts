// The lines of an answer's body, as they come. Owns: cutting bytes that come in any pieces. Must not know: what
// a line says.

/** No answer of a model comes near: a line is one. */
const LONGEST_LINE_BYTES = 64 * 1024 * 1024
const NEWLINE = 0x0a

/** Throws what the body throws. A line that is too long is given as an empty one. A last line may lack its end. */
export async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let parts: Buffer[] = []
  let bytes = 0
  const take = (part: Buffer): void => {
    bytes += part.length
    if (bytes > LONGEST_LINE_BYTES) parts = []
    else parts.push(part)
  }
  const cut = (): string => {
    const line = Buffer.concat(parts).toString('utf8')
    parts = []
    bytes = 0
    return line
  }
  for await (const piece of body) {
    const chunk = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      take(chunk.subarray(start, end))
      yield cut()
      start = end + 1
    }
    take(chunk.subarray(start))
  }
  if (bytes > 0) yield cut()
}
