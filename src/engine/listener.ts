// A program's own listeners. Owns: that nothing of the gate's fails when one of them does. Must not know:
// what they hear.

/**
 * Calls one, and never throws.
 *
 * @param failed is told what it throws, or what its promise rejects with
 */
export function call(listener: () => unknown, failed: (error: unknown) => void): void {
  try {
    const returned = listener()
    if (returned !== undefined) Promise.resolve(returned).catch(failed)
  } catch (error) {
    failed(error)
  }
}
