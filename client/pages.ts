/**
 * Lists from their first item to their last, page by page.
 * @module
 */
import { Effect, Option, Stream } from "effect"

interface Page<Item> {
  readonly items: ReadonlyArray<Item>
  readonly nextCursor: string | null
}

/**
 * Every item of a list, each page asked for when the one before has been taken:
 * `everyItem(client.devices.list, { query: { q: "boiler", limit: 500 } })`.
 */
export const everyItem = <Request extends { readonly query: object }, Item, E, R>(
  list: (request: Request) => Effect.Effect<Page<Item>, E, R>,
  request: Request
): Stream.Stream<Item, E, R> =>
  Stream.paginate(undefined as string | undefined, (cursor) =>
    Effect.map(
      list(cursor === undefined ? request : { ...request, query: { ...request.query, cursor } }),
      ({ items, nextCursor }) => [items, Option.fromNullishOr(nextCursor)] as const
    )
  )
