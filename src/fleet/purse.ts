// The money of a fleet. Owns: what is spent and what is set aside, and that both together never pass the
// most. Must not know: prices, or what is paid for.

/** All amounts are integer nano-dollars. */
export class Purse {
  readonly #most: number
  #spent = 0
  #setAside = 0

  /** @param most Infinity where nothing bounds it */
  constructor(most: number) {
    this.#most = most
  }

  /** Infinity where nothing bounds it. */
  get most(): number {
    return this.#most
  }

  get isBounded(): boolean {
    return this.#most !== Number.POSITIVE_INFINITY
  }

  get spent(): number {
    return this.#spent
  }

  get hasSetAside(): boolean {
    return this.#setAside > 0
  }

  /** Whether so much more can be set aside. */
  has(amount: number): boolean {
    return this.#spent + this.#setAside + amount <= this.#most
  }

  setAside(amount: number): void {
    this.#setAside += amount
  }

  /** What was set aside is free again. */
  giveBack(amount: number): void {
    this.#setAside -= amount
  }

  spend(amount: number): void {
    this.#spent += amount
  }
}
