// The size of a base64 image, from its first bytes. Must not know: what a pixel costs.
import type { Span } from '../json-scan.ts'

export interface ImageSize {
  readonly width: number
  readonly height: number
}

/** Enough for a camera's JPEG header, though not for every thumbnail in one. Divisible by four. */
const HEADER_BASE64_CHARACTERS = 8192

const PNG_SIGNATURE = 0x89504e47
const JPEG_MARKER = 0xff
const JPEG_START = 0xffd8

/** Null where it is neither PNG nor JPEG, or the size stands too far inside. */
export function imageSize(body: Buffer, base64: Span): ImageSize | null {
  const end = Math.min(base64.end, base64.start + HEADER_BASE64_CHARACTERS)
  const header = Buffer.from(body.toString('latin1', base64.start, end), 'base64')
  if (header.length < 24) return null
  const size = header.readUInt32BE(0) === PNG_SIGNATURE ? pngSize(header) : jpegSize(header)
  return size && size.width > 0 && size.height > 0 ? size : null
}

function pngSize(header: Buffer): ImageSize {
  return { width: header.readUInt32BE(16), height: header.readUInt32BE(20) }
}

/** Walks the segments up to the one that starts the frame. */
function jpegSize(header: Buffer): ImageSize | null {
  if (header.readUInt16BE(0) !== JPEG_START) return null
  let at = 2
  while (at + 9 <= header.length && header[at] === JPEG_MARKER) {
    if (startsFrame(header.readUInt8(at + 1))) {
      return { height: header.readUInt16BE(at + 5), width: header.readUInt16BE(at + 7) }
    }
    at += 2 + header.readUInt16BE(at + 2)
  }
  return null
}

/** SOF0 to SOF15, without the three of that range that are tables. */
function startsFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
}
