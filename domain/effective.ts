/**
 * Which of several published versions counts at an instant.
 * @module
 */
import { type Instant } from "./ids.ts"

/**
 * The last version with `effectiveAt` ≤ `at`; the first one applies to everything earlier. Undefined only without versions.
 * @param versions oldest first
 */
export const effectiveVersion = <V extends { readonly effectiveAt: Instant }>(
  versions: ReadonlyArray<V>,
  at: Instant
): V | undefined => {
  for (let index = versions.length - 1; index > 0; index--) {
    const version = versions[index]!
    if (version.effectiveAt <= at) return version
  }
  return versions[0]
}
