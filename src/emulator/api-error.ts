// The provider's errors. Owns: types, statuses and the shape of a body. Source: its error reference.
import { organizationId, type Refused } from './emulated-provider.ts'
import type { DoorFault } from './faults.ts'

const STATUS = {
  invalid_request_error: 400,
  authentication_error: 401,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  overloaded_error: 529,
} as const

export interface ApiError {
  readonly type: keyof typeof STATUS
  readonly message: string
  readonly errorCode?: string
  readonly retryAfterSeconds?: number
}

export const OVERLOADED: ApiError = { type: 'overloaded_error', message: 'Overloaded' }
export const INTERNAL: ApiError = { type: 'api_error', message: 'Internal server error' }

/** Door faults that are answered with an error; the other one drops the connection. */
export const FAULT_ERRORS: Record<Exclude<DoorFault, 'connection-reset'>, ApiError> = {
  overload: OVERLOADED,
  'server-error': INTERNAL,
  'ramp-limit': {
    type: 'rate_limit_error',
    message:
      'This request would exceed the acceleration limit of your organization. Please ramp up gradually.',
    errorCode: 'ramp_limit_exceeded',
    retryAfterSeconds: 5,
  },
  'spend-limit': {
    type: 'rate_limit_error',
    message:
      "You have reached your API usage limits: your organization has crossed its monthly API usage threshold, set based on your organization's API tier.",
    errorCode: 'enforced_spend_limit_reached',
  },
}

const DIMENSION_WORDS = {
  requests: 'requests',
  input_tokens: 'input tokens',
  output_tokens: 'output tokens',
}

/** A refusal for a limit, which it names in words as clients are used to. */
export function rateLimitError(refused: Refused, organization: string): ApiError {
  const limit = `${refused.amount.toLocaleString('en-US')} ${DIMENSION_WORDS[refused.dimension]}`
  return {
    type: 'rate_limit_error',
    message: `This request would exceed the rate limit for your organization (${organizationId(organization)}) of ${limit} per minute. Please reduce the prompt length or the maximum tokens requested, or try again later.`,
    retryAfterSeconds: Math.max(1, Math.ceil(refused.retryAfterMs / 1000)),
  }
}

export function statusOf(error: ApiError): number {
  return STATUS[error.type]
}

export function errorBody(error: ApiError, requestId: string): string {
  return JSON.stringify(errorDocument(error, requestId))
}

export function errorDocument({ type, message, errorCode }: ApiError, requestId: string) {
  const details = errorCode === undefined ? null : { error_code: errorCode }
  return { type: 'error', error: { type, message, details }, request_id: requestId }
}
