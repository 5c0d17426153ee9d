/**
 * What the sandbox's parent and child say to each other.
 * @module
 */

export interface Job {
  readonly sources: ReadonlyArray<string>
  /** The index of a source, and an input. */
  readonly evaluations: ReadonlyArray<readonly [number, unknown]>
  readonly maxResultUnits: number
}
