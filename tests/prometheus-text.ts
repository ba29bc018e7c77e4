// The text format of Prometheus, version 0.0.4, read by its rules. Owns: reading, and refusing what
// breaks a rule. Must not know: what any metric means.
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly type: string
  readonly help: string
  readonly samples: readonly Sample[]
}

const HELP = /^# HELP ([a-zA-Z_:][\w:]*) (.+)$/
const TYPE = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary|untyped)$/
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.+)\})? (\S+)$/
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\["\\n])*)"(,|$)/y
const NUMBER = /^(?:[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|Inf)|NaN)$/i

/** @throws Error at the first line that breaks a rule. */
export function readPrometheusText(text: string): ReadonlyMap<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end')
  const families = new Map<string, Family & { readonly samples: Sample[] }>()
  const seen = new Set<string>()
  let help: readonly [name: string, help: string] | null = null
  let family = ''
  for (const line of text.split('\n').filter((line) => line !== '')) {
    const [, helped, said = ''] = HELP.exec(line) ?? []
    const [, typed, type = ''] = TYPE.exec(line) ?? []
    if (helped !== undefined) {
      help = [helped, said]
    } else if (typed !== undefined) {
      if (help?.[0] !== typed || families.has(typed)) throw new Error(`out of order: ${line}`)
      families.set(typed, { type, help: help[1], samples: [] })
      family = typed
    } else {
      const sample = readSample(line)
      const { name, labels } = sample
      const id = JSON.stringify([name, Object.entries(labels).sort()])
      if (seen.has(id)) throw new Error(`twice: ${line}`)
      seen.add(id)
      const of = families.get(family)
      if (!of || !namesOf(family, of.type).includes(name)) throw new Error(`a stranger: ${line}`)
      of.samples.push(sample)
    }
  }
  for (const [name, { type, samples }] of families)
    if (type === 'histogram') checkHistogram(name, samples)
  return families
}

const namesOf = (family: string, type: string): readonly string[] =>
  type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => family + end) : [family]

function readSample(line: string): Sample {
  const [, name = '', labels = '', value = ''] = SAMPLE.exec(line) ?? []
  if (!NUMBER.test(value)) throw new Error(`no sample: ${line}`)
  return { name, labels: readLabels(labels), value: numberOf(value) }
}

const numberOf = (text: string): number => Number(text.replace('Inf', 'Infinity'))

function readLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const [, name = '', value = ''] = LABEL.exec(text) ?? []
    if (name === '' || name in labels) throw new Error(`no labels: ${text}`)
    labels[name] = value.replaceAll(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : escaped))
  }
  return labels
}

/** Buckets never fall, and the last of each series has all that were counted. */
function checkHistogram(name: string, samples: readonly Sample[]): void {
  const buckets = Object.groupBy(
    samples.filter((sample) => sample.name === `${name}_bucket`),
    ({ labels: { le: _, ...rest } }) => JSON.stringify(rest),
  )
  const counts = samples.filter((sample) => sample.name === `${name}_count`)
  for (const { labels, value } of counts) {
    const series = buckets[JSON.stringify(labels)] ?? []
    const inOrder = series.toSorted(
      (a, b) => numberOf(a.labels.le ?? '') - numberOf(b.labels.le ?? ''),
    )
    const isRising = inOrder.every(({ value }, i) => value >= (inOrder[i - 1]?.value ?? 0))
    const last = inOrder.at(-1)
    if (!isRising || last?.labels.le !== '+Inf' || last.value !== value)
      throw new Error(`no histogram: ${name} ${JSON.stringify(labels)}`)
  }
}
