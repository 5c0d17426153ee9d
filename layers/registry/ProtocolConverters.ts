/**
 * The protocol converters of an organization. Published versions of device types hold copies, so that what is changed or
 * removed here changes no message: a device type takes a change up when it is published again.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { faultPath } from "@argusiq/domain/http/fault-path.ts"
import {
  type NewProtocolConverter,
  type ProtocolConverter,
  type ProtocolConverterChange,
  type ProtocolConverterQuery
} from "@argusiq/domain/http/protocol-converters.ts"
import { compileConverter, ConverterContent } from "@argusiq/domain/protocol/converter.ts"
import { Context, Effect, Layer, Result, Schema, SchemaIssue } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { containing, type Page, readPage } from "./paging.ts"
import { type ConverterRow, encodeContent, toConverter } from "./protocolConverterRow.ts"
import {
  type BadCursor,
  NotRegistered,
  orRefusal,
  orUnavailable,
  refuseStale,
  type StaleVersion,
  type WriteRefusal
} from "./refusals.ts"

/** The converter would not work; every reason with its path. */
export class InvalidConverter extends Schema.TaggedError<InvalidConverter>()("InvalidConverter", {
  faults: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {}

export class ProtocolConverters extends Context.Service<
  ProtocolConverters,
  {
    list(
      actor: Actor,
      query: ProtocolConverterQuery
    ): Effect.Effect<Page<ProtocolConverter>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<ProtocolConverter, NotRegistered | DatabaseUnavailable>
    create(
      actor: Actor,
      converter: NewProtocolConverter
    ): Effect.Effect<ProtocolConverter, InvalidConverter | WriteRefusal>
    /** `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: ProtocolConverterChange,
      basedOn?: number
    ): Effect.Effect<ProtocolConverter, NotRegistered | StaleVersion | InvalidConverter | WriteRefusal>
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | DatabaseUnavailable>
  }
>()("argusiq/layers/registry/ProtocolConverters") {
  static readonly layer = Layer.effect(
    ProtocolConverters,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) =>
        sql<ConverterRow>`select item.*, ${sorted} as sorted from protocol_converters item where ${where} ${rest}`

      const one = Effect.fnUntraced(function* (id: string, rest = "") {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(rest), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "protocol converter" })
        return toConverter(row)
      })
      const locked = Effect.fnUntraced(function* (id: string, basedOn: number | undefined) {
        const present = yield* one(id, "for update")
        yield* refuseStale(basedOn, present.version)
        return present
      })

      const list = Effect.fn("ProtocolConverters.list")((actor: Actor, query: ProtocolConverterQuery) => {
        const filters = [
          ...(query.q === undefined || query.q === "" ? [] : [sql`item.name ilike ${containing(query.q)}`]),
          ...(query.isActive === undefined ? [] : [sql`item.is_active = ${query.isActive === "true"}`])
        ]
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return readPage(sql, query, filters, found, toConverter)
      })

      const get = Effect.fn("ProtocolConverters.get")((actor: Actor, id: string) =>
        one(id).pipe(scoped(actor), orUnavailable)
      )

      const create = Effect.fn("ProtocolConverters.create")((actor: Actor, converter: NewProtocolConverter) =>
        Effect.gen(function* () {
          const content = yield* checked(converter)
          const id = newId()
          yield* sql`insert into protocol_converters ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            name: converter.name,
            description: converter.description ?? "",
            is_active: converter.isActive ?? true,
            source_protocol: content.sourceProtocol,
            target_schema: content.targetSchema === null ? null : sql.json(content.targetSchema),
            transformation_rules: sql.json(content.transformationRules),
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          return yield* Effect.catchTag(one(id), "NotRegistered", Effect.die)
        }).pipe(scoped(actor), orRefusal)
      )

      const change = Effect.fn("ProtocolConverters.change")(
        (actor: Actor, id: string, change: ProtocolConverterChange, basedOn?: number) =>
          Effect.gen(function* () {
            const present = yield* locked(id, basedOn)
            const content = yield* checked({ ...present, ...change })
            const values = {
              ...(change.name !== undefined && { name: change.name }),
              ...(change.description !== undefined && { description: change.description }),
              ...(change.isActive !== undefined && { is_active: change.isActive }),
              source_protocol: content.sourceProtocol,
              target_schema: content.targetSchema === null ? null : sql.json(content.targetSchema),
              transformation_rules: sql.json(content.transformationRules),
              updated_by: actor.userId ?? null
            }
            yield* sql`update protocol_converters set ${sql.update(values)}, version = version + 1, updated_at = now()
              where id = ${id}::uuid`
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("ProtocolConverters.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* locked(id, basedOn)
          yield* sql`delete from protocol_converters where id = ${id}::uuid`
        }).pipe(scoped(actor), orUnavailable)
      )

      return ProtocolConverters.of({ list, get, create, change, remove })
    })
  )
}

const decodeContent = Schema.decodeUnknownResult(ConverterContent, { errors: "all" })
const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** The content of a converter, as it is stored, when it would work. */
const checked = (converter: object) => {
  const content = decodeContent(converter)
  if (Result.isFailure(content)) {
    const { issues } = formatIssues(content.failure.issue)
    const faults = issues.map(({ message, path = [] }) => ({ path: faultPath(path), message }))
    return Effect.fail(new InvalidConverter({ faults }))
  }
  const compiled = compileConverter(content.success, 0)
  return Result.isFailure(compiled)
    ? Effect.fail(new InvalidConverter({ faults: compiled.failure }))
    : Effect.succeed(encodeContent(content.success))
}
