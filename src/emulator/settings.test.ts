import { describe, expect, it } from 'vitest'
import { limitsOf, resolveEmulatorSettings } from './settings.ts'

describe('resolveEmulatorSettings', () => {
  it('starts from the entry tier without faults', () => {
    const settings = resolveEmulatorSettings()
    expect(limitsOf(settings, 'claude-opus-5')).toEqual({
      requests: 50,
      inputTokens: 30_000,
      outputTokens: 8000,
    })
    expect(settings.faults).toMatchObject({ overloadRate: 0, slowFactor: 1 })
    expect(settings.poolRequests).toEqual({ count_tokens: 100, batches: 50, other: 600 })
    expect(settings).toMatchObject({ batchMs: 60_000, batchExpiryMs: 86_400_000 })
  })

  it('keeps the defaults of what a part leaves out', () => {
    const settings = resolveEmulatorSettings({
      limits: { requests: 10, inputTokens: 20, outputTokens: 30 },
      limitsByClass: { 'claude-opus-4': { outputTokens: 5 } },
      output: { sigma: 0 },
      faults: { hangRate: 0.5 },
    })
    expect(limitsOf(settings, 'claude-opus-4')).toMatchObject({ requests: 10, outputTokens: 5 })
    expect(limitsOf(settings, 'claude-sonnet-4').outputTokens).toBe(30)
    expect(settings.output).toEqual({ medianTokens: 300, sigma: 0 })
    expect(settings.faults).toMatchObject({ hangRate: 0.5, overloadRate: 0 })
  })

  it('names every wrong key at once', () => {
    const wrong = { timeScale: 0, limitz: {}, faults: { hangRate: 2 } }
    expect(() => resolveEmulatorSettings(wrong)).toThrow(/hangRate[\s\S]*timeScale[\s\S]*limitz/)
  })
})
