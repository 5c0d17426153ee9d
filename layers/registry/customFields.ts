/**
 * Custom fields: the JSON Schema that an asset type gives its assets' custom attributes.
 * @module
 */
import { compileMessageSchema } from "@argusiq/domain/json-schema.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect, Result } from "effect"
import { NotValid } from "./refusals.ts"

type JsonObject = Readonly<Record<string, unknown>>

/** Refuses custom fields that are no JSON Schema. None are all. */
export const checkedFields = (fields: JsonObject | undefined): Effect.Effect<void, NotValid> => {
  if (fields === undefined || Object.keys(fields).length === 0) return Effect.void
  const compiled = compileMessageSchema(fields)
  if (Result.isSuccess(compiled)) return Effect.void
  const faults = compiled.failure.map(({ message, path }) => ({
    path: `customFields${path.replace("$.messageSchema", "").replaceAll("/", ".")}`,
    message
  }))
  return Effect.fail(new NotValid({ faults }))
}

/** Refuses custom attributes that the type, or else the nearest of its parent types that says so, does not allow. */
export const refuseAttributes = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  assetTypeId: string,
  attributes: JsonObject
) {
  const [row] = yield* sql<{ custom_fields: JsonObject }>`
    with recursive above as (
      select custom_fields, parent_type_id, 1 as level from asset_types where id = ${assetTypeId}::uuid
      union all
      select type.custom_fields, type.parent_type_id, level + 1 from asset_types type, above
      where type.id = above.parent_type_id and level < 10
    ) select custom_fields from above where custom_fields <> '{}' order by level limit 1`
  if (row === undefined) return
  const compiled = compileMessageSchema(row.custom_fields)
  if (Result.isFailure(compiled)) return
  const wrong = compiled.success(attributes, JSON.stringify(attributes).length)
  if (wrong === undefined) return
  return yield* new NotValid({
    faults: [
      {
        path: `customAttributes${(wrong.path ?? "").replaceAll("/", ".")}`,
        message: wrong.message.replace(
          /^The message does not match its schema/,
          "does not match the type's custom fields"
        )
      }
    ]
  })
})
