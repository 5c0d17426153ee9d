/**
 * The scalar vocabulary of REST: texts that can be stored, instants as ISO 8601, pages.
 * @module
 */
import { Effect, Schema, SchemaGetter, SchemaIssue } from "effect"
import { Instant, Uuid } from "../ids.ts"

/** Text that PostgreSQL can hold and a page can show. */
export const text = (maxLength: number) =>
  Schema.String.check(
    Schema.isMaxLength(maxLength),
    Schema.makeFilter(
      (value: string) =>
        (value.isWellFormed() && !/(?![\t\n\r])\p{Cc}/u.test(value)) || "control character or lone surrogate"
    )
  )
export const label = (maxLength: number) =>
  text(maxLength).check(Schema.isPattern(/\S/, { message: "must not be blank" }))

/** Any case is accepted in a path; ids are lower case everywhere else. */
export const idParams = {
  id: Schema.String.pipe(
    Schema.decodeTo(Uuid, {
      decode: SchemaGetter.transform((id) => id.toLowerCase()),
      encode: SchemaGetter.passthrough()
    })
  )
}

const isoPattern = /^(\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,9}))?([Zz]|[+-]\d{2}:?\d{2})$/

/** Epoch microseconds of an ISO 8601 instant with its offset from UTC; undefined when it is none. */
export const microsFromIso = (iso: string): number | undefined => {
  const parts = isoPattern.exec(iso)
  if (parts === null) return undefined
  const [, upToSeconds, fraction = "", zone] = parts
  const millis = Date.parse(`${upToSeconds}${zone}`)
  if (Number.isNaN(millis)) return undefined
  return millis * 1_000 + Number(fraction.slice(0, 6).padEnd(6, "0"))
}

/** ISO 8601 in UTC, with milliseconds, or microseconds where there are any. */
export const isoFromMicros = (micros: number): string => {
  const belowMillis = ((micros % 1_000) + 1_000) % 1_000
  const iso = new Date((micros - belowMillis) / 1_000).toISOString()
  return belowMillis === 0 ? iso : `${iso.slice(0, -1)}${String(belowMillis).padStart(3, "0")}Z`
}

/** An instant in a request: ISO 8601 with `Z` or an offset, decoded to epoch microseconds. */
export const InstantFromIso = Schema.String.annotate({ format: "date-time" }).pipe(
  Schema.decodeTo(Instant, {
    decode: SchemaGetter.transformEffect((iso, options) => {
      const micros = microsFromIso(iso)
      return micros === undefined
        ? Effect.fail(
            new SchemaIssue.InvalidValue(
              { message: "must be an ISO 8601 instant such as 2026-01-31T08:00:00Z" },
              iso,
              options
            )
          )
        : Effect.succeed(micros)
    }),
    encode: SchemaGetter.transform(isoFromMicros)
  })
)
/** An instant in an answer: ISO 8601, UTC. */
export const IsoInstant = Schema.String.annotate({ format: "date-time", examples: ["2026-01-31T08:00:00.000Z"] })

/** How many items a page has at most. */
export const limit = (most: number) => Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: most }))

/** Where the next page goes on: opaque, as the answer before gave it. */
export const Cursor = Schema.String.check(Schema.isMaxLength(2_000))

/** What every list is asked for: how many items (100 unless told), from where on, in which order, and which text they hold. */
export const pageQuery = {
  limit: Schema.optionalKey(limit(500)),
  cursor: Schema.optionalKey(Cursor),
  sort: Schema.optionalKey(Schema.Literals(["name", "-name", "createdAt", "-createdAt"])), // by name unless told; "-" is descending
  q: Schema.optionalKey(text(200))
}

/** What a list in one order of its own is asked for. */
export const shortPageQuery = {
  limit: Schema.optionalKey(limit(500)), // 500 unless told
  cursor: Schema.optionalKey(Cursor)
}

export const page = <S extends Schema.Top>(item: S, identifier: string) =>
  Schema.Struct({ items: Schema.Array(item), nextCursor: Schema.NullOr(Schema.String) }).annotate({ identifier })
