// Anthropic's Messages API as Headgate knows it. Owns: putting its subjects together, one file each.
// Must not know: queues, sockets, stores.
// Facts: Anthropic's API documentation and the source of its SDKs, as each file says.
import type { Usage } from '../../core/prompt.ts'
import { headerText } from '../headers.ts'
import type { Headers, Provider } from '../provider.ts'
import { decoded, describe } from './describe.ts'
import { observeLimits } from './limits.ts'
import { matchPath } from './paths.ts'
import { readsOnlyRequest } from './price-terms.ts'
import { renderRefusal, renderStreamRefusal, wrapStreamError } from './refusals.ts'
import { withModel } from './rewrite.ts'
import { openUsageTap } from './usage.ts'
import { verdictOn } from './verdict.ts'

export const anthropic: Provider = {
  name: 'anthropic',
  defaultBaseUrl: 'https://api.anthropic.com',
  match: matchPath,
  describe,
  readsOnlyRequest,
  withModel: (body, headers, model) => {
    const json = decoded(body, headers, MOST_UNPACKED_BYTES)
    return json && withModel(json, model)
  },
  credential,
  observe: observeLimits,
  classify: verdictOn,
  openUsageTap,
  countedInput,
  renderRefusal,
  renderStreamRefusal,
  wrapStreamError,
  streamKeepalive: 'event: ping\ndata: {"type": "ping"}\n\n',
}

/** The largest request that Anthropic takes. */
const MOST_UNPACKED_BYTES = 32 * 1024 * 1024

/** Anthropic takes a key in either header, and clients send either or both. */
function credential(headers: Headers): string | null {
  const bearer = /^bearer +(\S+)$/i.exec(headerText(headers, 'authorization') ?? '')
  return headerText(headers, 'x-api-key') ?? bearer?.[1] ?? null
}

/** The one model group for which reading from the cache counts. */
const COUNTS_CACHE_READS = 'claude-haiku-3-5'

function countedInput(limitGroup: string, usage: Usage): number {
  const counted = usage.inputTokens + usage.cacheWriteTokens
  return limitGroup === COUNTS_CACHE_READS ? counted + usage.cacheReadTokens : counted
}
