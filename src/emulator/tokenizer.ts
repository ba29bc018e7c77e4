// Counts tokens as a byte-pair tokenizer roughly would, from the text alone: deterministic, and
// neither bytes nor a constant share of them. Must not know: requests.

const SPACE = 0
const NEWLINE = 1
const LOWER = 2
const UPPER = 3
const DIGIT = 4
const LETTER = 5
const SINGLE = 6

const ASCII = Uint8Array.from({ length: 128 }, (_, code) => asciiKind(String.fromCharCode(code)))

function asciiKind(character: string): number {
  if (/[a-z]/.test(character)) return LOWER
  if (/[A-Z]/.test(character)) return UPPER
  if (/[0-9]/.test(character)) return DIGIT
  if (/[\r\n]/.test(character)) return NEWLINE
  return /\s/.test(character) ? SPACE : SINGLE
}

/** Scripts without spaces, and everything written in surrogate pairs, cost one token each unit. */
function kindOf(code: number): number {
  if (code < 128) return ASCII[code] ?? SINGLE
  return code >= 0x2e80 ? SINGLE : LETTER
}

/**
 * Words in pieces of about four and a half letters (a change of case starts a new one), digits in
 * threes, letters beyond ASCII in threes, punctuation and CJK one each. A single space belongs to the
 * word after it; indentation costs a token per eight columns.
 */
function tokensOfRun(kind: number, length: number): number {
  switch (kind) {
    case SPACE:
      return Math.floor((length + 6) / 8)
    case NEWLINE:
      return Math.ceil(length / 2)
    case LOWER:
    case UPPER:
      return Math.ceil(length / 4.5)
    case DIGIT:
    case LETTER:
      return Math.ceil(length / 3)
    default:
      return length
  }
}

export function countTokens(text: string): number {
  let tokens = 0
  let runKind = SPACE
  let runLength = 0
  for (let index = 0; index < text.length; index++) {
    const kind = kindOf(text.charCodeAt(index))
    if (kind === runKind) {
      runLength++
    } else if (kind === LOWER && runKind === UPPER && runLength === 1) {
      runKind = LOWER
      runLength = 2
    } else {
      tokens += tokensOfRun(runKind, runLength)
      runKind = kind
      runLength = 1
    }
  }
  return tokens + tokensOfRun(runKind, runLength)
}
