import { describe, expect, it } from 'vitest'
import { jsonSchema, keysAt } from './schema.ts'
import { OPTIONS, SETTINGS } from './setting-table.ts'

describe('the JSON Schema', () => {
  it('has every setting of the table, described with its default', () => {
    const text = JSON.stringify(jsonSchema())
    for (const { key, doc, defaultText } of Object.values(SETTINGS)) {
      if (key === 'listen') continue
      expect(text).toContain(`"description":"${doc} Default: ${defaultText}."`)
    }
  })

  it('refuses unknown keys in every group', () => {
    expect(JSON.stringify(jsonSchema()).match(/"additionalProperties":false/g)).toHaveLength(20)
  })

  it('knows the keys at a path, through lists', () => {
    expect(keysAt(['queue'])).toEqual(['max_wait', 'max_queued', 'aging', 'keepalive'])
    expect(keysAt(['providers', 'anthropic', 'limits', 0])).toContain('input_tokens')
    expect(keysAt(['tiers', 'any name', 'shadow'])).toContain('budget')
    expect(keysAt(['no', 'such'])).toEqual([])
  })
})

describe('the options', () => {
  it('have flags, variables and defaults as the contract says', () => {
    expect(OPTIONS.map(({ flag, variable, defaultText }) => [flag, variable, defaultText])).toEqual(
      [
        ['--host HOST', 'HEADGATE_HOST', '127.0.0.1'],
        ['--port PORT', 'HEADGATE_PORT', '4000'],
        ['--store URL', 'HEADGATE_STORE', 'memory'],
        ['--ledger URL', 'HEADGATE_LEDGER', 'sqlite:'],
        ['--max-wait DURATION', 'HEADGATE_MAX_WAIT', '10m'],
        ['--log-level LEVEL', 'HEADGATE_LOG_LEVEL', 'info'],
        ['--log-format FORMAT', 'HEADGATE_LOG_FORMAT', 'auto'],
        ['--upstream NAME=URL', 'HEADGATE_UPSTREAM_NAME', 'the public address'],
        ['--config FILE', 'HEADGATE_CONFIG', './headgate.yaml if there'],
      ],
    )
  })
})
