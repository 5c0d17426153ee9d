/**
 * Pure code that uses expressions, run until nothing is missed.
 * @module
 */
import { type Evaluate } from "@argusiq/domain/expression/expression.ts"
import { makeMemo } from "@argusiq/domain/expression/memo.ts"
import { Effect } from "effect"
import { type Sandbox } from "./Sandbox.ts"

/**
 * Runs `compute` once where all of its expressions are compiled; else again after each batch that the sandbox has evaluated for it,
 * until it asks for nothing unknown. It has to be pure: what it gave before the last time is dropped.
 */
export const withExpressions = Effect.fnUntraced(function* <A>(
  sandbox: Sandbox["Service"],
  compute: (evaluate: Evaluate) => A
) {
  const memo = makeMemo()
  for (;;) {
    const result = compute(memo.evaluate)
    const misses = memo.takeMisses()
    if (misses.length === 0) return result
    memo.learn(misses, yield* sandbox.evaluate(misses))
  }
})

/**
 * As {@link withExpressions} for each item of a batch, in order; what the sandbox has to evaluate for all of them goes there together,
 * and only the items that missed something are computed again.
 * @param after each item's first computation, for example to give others a turn
 */
export const eachWithExpressions = Effect.fnUntraced(function* <Item, A>(
  sandbox: Sandbox["Service"],
  items: ReadonlyArray<Item>,
  compute: (item: Item, evaluate: Evaluate) => A,
  after?: (item: Item) => Effect.Effect<void>
) {
  const memo = makeMemo()
  const results: Array<A> = []
  let missed: Array<number> = []
  const computed = (index: number) => {
    const before = memo.misses()
    results[index] = compute(items[index]!, memo.evaluate)
    return memo.misses() === before
  }
  for (const [index, item] of items.entries()) {
    if (!computed(index)) missed.push(index)
    if (after !== undefined) yield* after(item)
  }
  while (missed.length > 0) {
    const misses = memo.takeMisses()
    memo.learn(misses, yield* sandbox.evaluate(misses))
    missed = missed.filter((index) => !computed(index))
  }
  return results as ReadonlyArray<A>
})
