// The outline of a Messages request, found without parsing it: the few small fields that matter, and
// where the prompt's parts lie. Must not know: what any of it costs.
import {
  isSpelt,
  NOT_JSON,
  type OnString,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  readCount,
  readString,
  type Span,
  skipValue,
  skipWhitespace,
  walkElements,
  walkMembers,
} from '../json-scan.ts'

export interface Outline {
  readonly model: string | null
  readonly isStream: boolean
  readonly isFast: boolean
  /** Where it is to be worked on, where it says. */
  readonly geo: string | null
  readonly maxTokens: number | null
  /** Whether the model is to think before it answers. */
  readonly hasThinking: boolean
  /** `metadata.user_id`, as it was sent. */
  readonly userId: string | null
  readonly tools: Span | null
  readonly system: Span | null
  readonly messages: Span | null
  /** Where each of the first messages ends. */
  readonly messageEnds: readonly number[]
  /** The request's own `cache_control`: it marks the end of the whole prompt. */
  readonly cacheControl: Span | null
  /** Strings inside that may mean something: breakpoints, and the data of images and documents. */
  readonly landmarks: Readonly<Record<Landmark, readonly number[]>>
}

type Landmark = 'cache_control' | 'data' | 'document' | 'image'

type Draft = {
  -readonly [Field in keyof Outline]: Outline[Field]
} & { messageEnds: number[]; readonly landmarks: Record<Landmark, number[]> }

/** A longer name is no model's. */
const MOST_MODEL_BYTES = 256

const MOST_GEO_BYTES = 64

/** What lies behind this many messages, or landmarks of a kind, is not looked at. */
const MOST_POSITIONS = 10_000

const LETTER_T = 0x74

/** Never throws. Null where the body is not a JSON object. */
export function outlineOf(body: Buffer): Outline | null {
  const draft = emptyDraft()
  const noteLandmark = landmarkNoter(body, draft.landmarks)
  const end = walkMembers(body, skipWhitespace(body, 0), FIELD_NAMES, (key, valueAt) => {
    const isConversation = key === 'messages' && body[valueAt] === OPEN_BRACKET
    const valueEnd = isConversation
      ? walkMessages(body, valueAt, draft, noteLandmark)
      : skipValue(body, valueAt, noteLandmark)
    if (key && valueEnd !== NOT_JSON) FIELDS[key]?.(draft, body, { start: valueAt, end: valueEnd })
    return valueEnd
  })
  const isWhole = end !== NOT_JSON && skipWhitespace(body, end) === body.length
  return isWhole ? draft : null
}

function emptyDraft(): Draft {
  return {
    model: null,
    isStream: false,
    isFast: false,
    geo: null,
    maxTokens: null,
    hasThinking: false,
    userId: null,
    tools: null,
    system: null,
    messages: null,
    messageEnds: [],
    cacheControl: null,
    landmarks: { cache_control: [], data: [], document: [], image: [] },
  }
}

function walkMessages(body: Buffer, start: number, draft: Draft, onString: OnString): number {
  const ends: number[] = []
  draft.messageEnds = ends
  const onMessageEnd = (end: number): void => {
    if (ends.length < MOST_POSITIONS) ends.push(end)
  }
  return walkElements(body, start, onMessageEnd, onString)
}

/** Every string of the prompt passes here: its length tells most of them apart. */
function landmarkNoter(body: Buffer, landmarks: Draft['landmarks']): OnString {
  return (start, end) => {
    const length = end - start - 2
    if (length === 4) note(body, landmarks, 'data', start)
    else if (length === 5) note(body, landmarks, 'image', start)
    else if (length === 8) note(body, landmarks, 'document', start)
    else if (length === 13) note(body, landmarks, 'cache_control', start)
  }
}

function note(body: Buffer, landmarks: Draft['landmarks'], name: Landmark, start: number): void {
  const positions = landmarks[name]
  if (positions.length < MOST_POSITIONS && isSpelt(body, start, name)) positions.push(start)
}

/** One known member each; a repeated key counts by its last value, as for every JSON parser. */
const FIELDS: Readonly<Record<string, (draft: Draft, body: Buffer, value: Span) => void>> = {
  model: (draft, body, value) => {
    draft.model = readString(body, value, MOST_MODEL_BYTES)
  },
  max_tokens: (draft, body, value) => {
    draft.maxTokens = readCount(body, value)
  },
  max_tokens_to_sample: (draft, body, value) => {
    draft.maxTokens = readCount(body, value)
  },
  prompt: (draft, body, value) => {
    draft.system = promptPart(body, value)
  },
  thinking: (draft, body, value) => {
    draft.hasThinking = body[value.start] === OPEN_BRACE
  },
  stream: (draft, body, value) => {
    draft.isStream = body[value.start] === LETTER_T
  },
  speed: (draft, body, value) => {
    draft.isFast = readString(body, value) === 'fast'
  },
  inference_geo: (draft, body, value) => {
    draft.geo = readString(body, value, MOST_GEO_BYTES)
  },
  metadata: (draft, body, value) => {
    draft.userId = userIdIn(body, value)
  },
  tools: (draft, body, value) => {
    draft.tools = promptPart(body, value)
  },
  system: (draft, body, value) => {
    draft.system = promptPart(body, value)
  },
  messages: (draft, body, value) => {
    draft.messages = promptPart(body, value)
    if (body[value.start] !== OPEN_BRACKET) draft.messageEnds = []
  },
  cache_control: (draft, body, value) => {
    draft.cacheControl = body[value.start] === OPEN_BRACE ? value : null
  },
}

const FIELD_NAMES = Object.keys(FIELDS)

/** A part that holds text; `null` in a part's place holds none. */
function promptPart(body: Buffer, value: Span): Span | null {
  const first = body[value.start]
  return first === QUOTE || first === OPEN_BRACKET || first === OPEN_BRACE ? value : null
}

function userIdIn(body: Buffer, metadata: Span): string | null {
  let userId: string | null = null
  walkMembers(body, metadata.start, ['user_id'], (key, valueAt) => {
    const end = skipValue(body, valueAt)
    if (key) userId = readString(body, { start: valueAt, end })
    return end
  })
  return userId
}
