// The prompts of a job that are with workers, or wait to be sent again. Owns: which these are, and what an earlier run
// has left of them. Must not know: the queue, or what an outcome means.
import type { EpochMs } from '../../core/clock.ts'
import { PromptTask } from './prompt-task.ts'

export class PromptTasks implements Iterable<PromptTask> {
  readonly #tasks = new Set<PromptTask>()
  /** What earlier runs have left in the queue, by id: as many as were there. */
  readonly #inherited = new Map<string, PromptTask>()
  #count = 0

  get size(): number {
    return this.#tasks.size
  }

  [Symbol.iterator](): Iterator<PromptTask> {
    return this.#tasks.values()
  }

  /** Those that are in the queue, with the names of their entries. */
  get inQueue(): { readonly task: PromptTask; readonly name: string }[] {
    return [...this.#tasks].flatMap((task) => {
      const { entryName: name } = task
      return name === null ? [] : [{ task, name }]
    })
  }

  /** The place of the next prompt. */
  nextIndex(): number {
    return this.#count++
  }

  begin(id: string, takenAt: EpochMs): PromptTask {
    const task = new PromptTask({ id, index: this.nextIndex(), takenAt })
    this.#tasks.add(task)
    return task
  }

  /** @param name of the entry that an earlier run has put into the queue */
  inherit(id: string, name: string, takenAt: EpochMs): void {
    const task = this.begin(id, takenAt)
    task.entryName = name
    this.#inherited.set(id, task)
  }

  inherited(id: string): PromptTask | undefined {
    return this.#inherited.get(id)
  }

  /** None of what an earlier look has found is there any more. */
  forgetInherited(): void {
    this.#inherited.clear()
  }

  /** What an earlier run has put there has failed: the source will come to it. */
  forget(task: PromptTask): void {
    this.#inherited.delete(task.id)
    this.#tasks.delete(task)
  }

  /** It has an outcome, or stays open. */
  delete(task: PromptTask): void {
    this.#tasks.delete(task)
  }
}
