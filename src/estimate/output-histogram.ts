// How long outputs are. Owns: a histogram with buckets of equal ratio that forgets slowly, and what
// it says of an output that has come so far. Must not know: models, flows, limits.

/** Three buckets for each doubling: a bucket's middle is within 13 % of all that it holds. */
const BUCKETS_PER_DOUBLING = 3

/** Up to 2^18 tokens, twice the longest answer of any model; the last bucket holds what is longer. */
export const BUCKET_COUNT = 18 * BUCKETS_PER_DOUBLING

/** Where each bucket begins, and where the last one ends. */
const BOUNDARIES = Float64Array.from(
  { length: BUCKET_COUNT + 1 },
  (_, bucket) => 2 ** (bucket / BUCKETS_PER_DOUBLING) - 1,
)

const MIDDLES = Float64Array.from(
  { length: BUCKET_COUNT },
  (_, bucket) => (at(bucket) + at(bucket + 1)) / 2,
)

/** Less weight than this beyond some length is no evidence of what lies there. */
const MIN_EVIDENCE = 0.02

function bucketOf(tokens: number): number {
  return Math.min(BUCKET_COUNT - 1, Math.floor(Math.log2(tokens + 1) * BUCKETS_PER_DOUBLING))
}

export class OutputHistogram {
  /** Weight per bucket. */
  readonly weights = new Float64Array(BUCKET_COUNT)
  total = 0

  /** `kept`: what is left of all earlier outputs' weight once this one is recorded. */
  record(tokens: number, kept: number): void {
    const weights = this.weights
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      weights[bucket] = (weights[bucket] ?? 0) * kept
    }
    const bucket = bucketOf(tokens)
    weights[bucket] = (weights[bucket] ?? 0) + 1
    this.total = this.total * kept + 1
  }
}

/** The mean of the outputs longer than `produced`, or null where too few are known. */
export function meanBeyond(weights: Float64Array, produced: number): number | null {
  const first = bucketOf(produced)
  let weight = weightBeyond(weights, first, produced)
  let sum = (weight * (Math.min(produced, at(first + 1)) + at(first + 1))) / 2
  for (let bucket = first + 1; bucket < BUCKET_COUNT; bucket++) {
    const here = weights[bucket] ?? 0
    weight += here
    sum += here * (MIDDLES[bucket] ?? 0)
  }
  return weight < MIN_EVIDENCE ? null : sum / weight
}

/** The quantile of the outputs longer than `produced`, or null where too few are known. */
export function quantileBeyond(
  weights: Float64Array,
  produced: number,
  quantile: number,
): number | null {
  let bucket = bucketOf(produced)
  let from = Math.min(produced, at(bucket + 1))
  let here = weightBeyond(weights, bucket, produced)
  const weight = weights.subarray(bucket + 1).reduce((sum, each) => sum + each, here)
  if (weight < MIN_EVIDENCE) return null
  let missing = weight * quantile
  while (missing > here && bucket < BUCKET_COUNT - 1) {
    missing -= here
    bucket++
    from = at(bucket)
    here = weights[bucket] ?? 0
  }
  const share = here > 0 ? Math.min(1, missing / here) : 1
  return from + (at(bucket + 1) - from) * share
}

/** The number of tokens at which a bucket begins. */
function at(bucket: number): number {
  return BOUNDARIES[bucket] ?? 0
}

/** The weight in a bucket beyond `produced`, as if its outputs were spread evenly over it. */
function weightBeyond(weights: Float64Array, bucket: number, produced: number): number {
  const share = (at(bucket + 1) - produced) / (at(bucket + 1) - at(bucket))
  return (weights[bucket] ?? 0) * Math.min(1, Math.max(0, share))
}
