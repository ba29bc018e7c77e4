import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../core/clock.ts'
import { type Follower, Followers } from './followers.ts'

class FakeFollower implements Follower {
  readonly scope: string
  leads = true
  rejoined = 0

  constructor(scope: string) {
    this.scope = scope
  }

  hasLeader(): boolean {
    return this.leads
  }

  rejoin(): void {
    this.rejoined++
  }
}

describe('Followers', () => {
  it('brings a follower back once its leader has begun, and only then', () => {
    const followers = new Followers(new VirtualClock())
    const [follower, stranger] = [new FakeFollower('a'), new FakeFollower('b')]
    followers.add(follower)
    followers.add(stranger)
    followers.look('a')
    expect(follower.rejoined).toBe(0)
    follower.leads = stranger.leads = false
    followers.look('a')
    followers.look('a')
    expect(follower.rejoined).toBe(1)
    expect(stranger.rejoined).toBe(0)
    expect(followers.has(follower)).toBe(false)
  })

  it('brings it back after half a minute, leader or not', () => {
    const clock = new VirtualClock()
    const followers = new Followers(clock)
    const follower = new FakeFollower('a')
    followers.add(follower)
    clock.advanceTo(29_999)
    expect(follower.rejoined).toBe(0)
    clock.advanceTo(30_000)
    expect(follower.rejoined).toBe(1)
  })

  it('forgets one that has left', () => {
    const clock = new VirtualClock()
    const followers = new Followers(clock)
    const follower = new FakeFollower('a')
    followers.add(follower)
    followers.remove(follower)
    clock.advanceTo(60_000)
    expect(follower.rejoined).toBe(0)
    expect(clock.nextAt()).toBe(Number.POSITIVE_INFINITY)
  })
})
