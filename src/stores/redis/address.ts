// What is needed to reach a Redis, a Redis Cluster or the primary that sentinels know. Must not know:
// how people write it (policy).

export interface Endpoint {
  readonly host: string
  readonly port: number
}

interface RedisAccess {
  readonly tls: boolean
  /** Null: the server's default user. */
  readonly user: string | null
  readonly password: string | null
  /** What all keys begin with. */
  readonly prefix: string
  /** The address as it may be shown to anybody: without credentials. */
  readonly shown: string
}

export interface SingleAddress extends RedisAccess, Endpoint {
  readonly kind: 'redis'
  readonly db: number
}

export interface ClusterAddress extends RedisAccess {
  readonly kind: 'redis_cluster'
  /** Some of its nodes: they tell of the others. */
  readonly nodes: readonly Endpoint[]
}

export interface SentinelAddress extends RedisAccess {
  readonly kind: 'redis_sentinel'
  readonly sentinels: readonly Endpoint[]
  /** What the sentinels ask for themselves; null: nothing. */
  readonly sentinelPassword: string | null
  /** The name that the sentinels know the primary by. */
  readonly primary: string
}

export type RedisAddress = SingleAddress | ClusterAddress | SentinelAddress
