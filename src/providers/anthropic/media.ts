// The parts of a prompt that are not text: images and documents, and the tokens they cost.
// Must not know: what the text around them costs.
import { COLON, NOT_JSON, QUOTE, type Span, skipString, skipWhitespace } from '../json-scan.ts'
import type { Outline } from './body.ts'
import { imageSize } from './image-size.ts'

/** The other members of a base64 source, `type` and `media_type`, are this near to its `data`. */
const SOURCE_BYTES = 128

/** An image of unknown size: 1.2 megapixels. */
const TYPICAL_IMAGE_TOKENS = 1600

/** An image is downscaled to these (models since Claude Opus 4.7). */
const MOST_IMAGE_TOKENS = 4784
const LONGEST_EDGE_PX = 2576
const PATCH_PX = 28

/** A PDF page is 1,500 to 3,000 tokens of text and an image, in some 50 kB. */
const BASE64_BYTES_PER_DOCUMENT_TOKEN = 22

/** The base64 text of a source, without its quotes. */
export interface Payload extends Span {
  readonly isImage: boolean
}

/** The base64 payloads in a body, in its order. */
export function payloadsOf(body: Buffer, outline: Outline): Payload[] {
  return outline.landmarks.data.flatMap((keyAt) => payloadAt(body, keyAt) ?? [])
}

function payloadAt(body: Buffer, keyAt: number): Payload | null {
  const colonAt = skipWhitespace(body, keyAt + '"data"'.length)
  const valueAt = body[colonAt] === COLON ? skipWhitespace(body, colonAt + 1) : colonAt
  const valueEnd = body[valueAt] === QUOTE ? skipString(body, valueAt) : NOT_JSON
  if (valueEnd === NOT_JSON) return null
  const before = body.toString('latin1', Math.max(0, keyAt - SOURCE_BYTES), keyAt)
  const source = before + body.toString('latin1', valueEnd, valueEnd + SOURCE_BYTES)
  if (!source.includes('"base64"')) return null
  return { start: valueAt + 1, end: valueEnd - 1, isImage: source.includes('"image/') }
}

/** Tokens of a prompt's images and documents: by their size where it can be seen. */
export function mediaTokens(body: Buffer, outline: Outline, payloads: readonly Payload[]): number {
  let tokens = 0
  let unseenImages = outline.landmarks.image.filter((at) => isBlockType(body, at)).length
  for (const payload of payloads) {
    if (payload.isImage) unseenImages--
    tokens += payload.isImage ? imageTokens(body, payload) : documentTokens(payload)
  }
  return tokens + Math.max(0, unseenImages) * TYPICAL_IMAGE_TOKENS
}

/** A document that is not in the request may be as large as the provider takes: 100 pages of 3,000 tokens. */
const MOST_DOCUMENT_TOKENS = 300_000

/** Documents behind a URL or in an uploaded file: nothing of their size can be seen. */
export function unseenTokens(body: Buffer, outline: Outline, payloads: readonly Payload[]): number {
  const { document, data } = outline.landmarks
  const documents = document.filter((at) => isBlockType(body, at)).length
  const images = payloads.filter(({ isImage }) => isImage).length
  // Each document that is in the request has its data there.
  return Math.max(0, documents - (data.length - images)) * MOST_DOCUMENT_TOKENS
}

/** Image blocks name their type, wherever their data is: here, behind a URL or in an uploaded file. */
function isBlockType(body: Buffer, stringAt: number): boolean {
  return /"type"\s*:\s*$/.test(body.toString('latin1', Math.max(0, stringAt - 16), stringAt))
}

function documentTokens(payload: Payload): number {
  return Math.ceil((payload.end - payload.start) / BASE64_BYTES_PER_DOCUMENT_TOKEN)
}

function imageTokens(body: Buffer, payload: Payload): number {
  const size = imageSize(body, payload)
  if (!size) return TYPICAL_IMAGE_TOKENS
  const scale = Math.min(1, LONGEST_EDGE_PX / Math.max(size.width, size.height))
  const columns = Math.ceil((size.width * scale) / PATCH_PX)
  const rows = Math.ceil((size.height * scale) / PATCH_PX)
  return Math.min(columns * rows, MOST_IMAGE_TOKENS)
}
