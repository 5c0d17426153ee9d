/**
 * Pages of a list by key: each page goes on behind the last item of the one before, so that nothing is lost or doubled
 * while items are added and removed.
 * @module
 */
import { Effect, Result, Schema } from "effect"
import { type SqlClient } from "effect/sql"
import { type Fragment } from "effect/sql/Statement"
import { BadCursor } from "./refusals.ts"

export interface Page<A> {
  readonly items: ReadonlyArray<A>
  readonly nextCursor: string | null
}

/** Where a page ended: the order it was in, and the sorted value (as text) and id of its last item. */
const Place = Schema.Tuple([Schema.String, Schema.String, Schema.String])
const decodePlace = Schema.decodeUnknownResult(Schema.fromJsonString(Place))

export const encodeCursor = (place: typeof Place.Type): string =>
  Buffer.from(JSON.stringify(place)).toString("base64url")
const decodeCursor = (cursor: string) => decodePlace(Buffer.from(cursor, "base64url").toString("utf8"))

/** Sorts that lists share: a column, how its value is written and read back. */
const columns = {
  name: { column: "name", type: "text" },
  createdAt: { column: "created_at", type: "timestamptz" },
  startedAt: { column: "started_at", type: "timestamptz" },
  occurredAt: { column: "occurred_at", type: "timestamptz" },
  receivedAt: { column: "received_at", type: "timestamptz" },
  validUntil: { column: "valid_until", type: "timestamptz" }
} as const
export type Sort = keyof typeof columns | `-${keyof typeof columns}`

/** The clauses of one page over a table's rows under the alias `item`. `sorted` is the text of the value sorted by. */
export interface PageClauses {
  readonly after: Fragment
  readonly order: Fragment
  readonly sorted: Fragment
}

export const pageClauses = (
  sql: SqlClient.SqlClient,
  sort: Sort,
  cursor: string | undefined
): Result.Result<PageClauses, BadCursor> => {
  const descending = sort.startsWith("-")
  const { column, type } = columns[(descending ? sort.slice(1) : sort) as keyof typeof columns]
  const direction = descending ? "desc" : "asc"
  const clauses = (after: Fragment): PageClauses => ({
    after,
    order: sql.literal(`order by item.${column} ${direction}, item.id ${direction}`),
    sorted: sql.literal(`item.${column}::text`)
  })
  if (cursor === undefined) return Result.succeed(clauses(sql.literal("true")))
  const place = decodeCursor(cursor)
  if (Result.isFailure(place) || place.success[0] !== sort || !isPlaceOf(type, place.success)) {
    return Result.fail(new BadCursor())
  }
  const [, value, id] = place.success
  const beyond = sql.literal(descending ? "<" : ">")
  return Result.succeed(
    clauses(sql`(item.${sql.literal(column)}, item.id) ${beyond} (${value}::${sql.literal(type)}, ${id}::uuid)`)
  )
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const timestamp = /^\d{4,6}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d+)?[+-]\d{2}(:\d{2}){0,2}$/
const isPlaceOf = (type: "text" | "timestamptz", [, value, id]: typeof Place.Type) =>
  uuid.test(id) && !value.includes("\0") && value.isWellFormed() && (type === "text" || timestamp.test(value))

/** What a list is asked for; by name and 100 items unless told. */
export interface PageQuery {
  readonly sort?: Sort
  readonly limit?: number
  readonly cursor?: string
}

/** One page of the rows that `select` finds, a select over the alias `item` with `sorted` among its columns. */
export const readPage = Effect.fnUntraced(function* <
  Row extends { readonly id: string; readonly sorted: string },
  A,
  E
>(
  sql: SqlClient.SqlClient,
  { cursor, limit = 100, sort = "name" }: PageQuery,
  filters: ReadonlyArray<Fragment>,
  select: (where: Fragment, rest: Fragment, sorted: Fragment) => Effect.Effect<ReadonlyArray<Row>, E>,
  toItem: (row: Row) => A
) {
  const { after, order, sorted } = yield* Effect.fromResult(pageClauses(sql, sort, cursor))
  // One more than is shown tells whether there is a next page.
  const rows = yield* select(sql.and([after, ...filters]), sql`${order} limit ${limit + 1}`, sorted)
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const page: Page<A> = {
    items: shown.map(toItem),
    nextCursor: rows.length > limit && last !== undefined ? encodeCursor([sort, last.sorted, last.id]) : null
  }
  return page
})

/** One page of a list that is small enough to be read whole; it goes on behind the item with the cursor's key. */
export const pageOf = <A>(
  items: ReadonlyArray<A>,
  { cursor, limit = 500 }: PageQuery,
  keyOf: (item: A) => string
): Effect.Effect<Page<A>, BadCursor> =>
  Effect.suspend(() => {
    const behind = cursor === undefined ? -1 : items.findIndex((item) => keyCursor(keyOf(item)) === cursor)
    if (cursor !== undefined && behind < 0) return Effect.fail(new BadCursor())
    const shown = items.slice(behind + 1, behind + 1 + limit)
    const last = shown.at(-1)
    const isLast = last === undefined || behind + 1 + limit >= items.length
    return Effect.succeed({ items: shown, nextCursor: isLast ? null : keyCursor(keyOf(last)) })
  })
const keyCursor = (key: string) => Buffer.from(JSON.stringify(["key", key])).toString("base64url")

/** A pattern for `ilike` that finds the text anywhere. */
export const containing = (text: string): string => `%${text.replaceAll(/[\\%_]/g, "\\$&")}%`
