/**
 * Why the registry did not do what it was asked for.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Effect, Predicate, Schema } from "effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { isUnavailable, sqlState } from "../database/errors.ts"

/** It does not exist, or not in this organisation: nobody can tell which. */
export class NotRegistered extends Schema.TaggedError<NotRegistered>()("NotRegistered", {
  what: Schema.Literals([
    "device",
    "device type",
    "protocol converter",
    "asset",
    "asset type",
    "asset profile",
    "asset group",
    "space",
    "link",
    "document",
    "rule",
    "alarm",
    "event",
    "activity type",
    "activity template",
    "activity",
    "checklist item",
    "schedule",
    "notification",
    "webhook delivery",
    "API key",
    "certificate",
    "download",
    "organization",
    "user",
    "session",
    "draft",
    "dead letter",
    "message"
  ])
}) {}
/** Another one has this value already; `path` names the property. */
export class AlreadyTaken extends Schema.TaggedError<AlreadyTaken>()("AlreadyTaken", { path: Schema.String }) {}
/** What it refers to does not exist, or cannot be referred to; `path` names the property. */
export class BadReference extends Schema.TaggedError<BadReference>()("BadReference", {
  path: Schema.String,
  message: Schema.String
}) {}
/** It would not work as it is written; every reason with its path. */
export class NotValid extends Schema.TaggedError<NotValid>()("NotValid", {
  faults: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {}
/** It is not in a state in which this can be done. */
export class WrongState extends Schema.TaggedError<WrongState>()("WrongState", { message: Schema.String }) {}
/** Who asks may not do this. */
export class NotAllowed extends Schema.TaggedError<NotAllowed>()("NotAllowed", { message: Schema.String }) {}
/** Somebody changed it since; `present` is its version. */
export class StaleVersion extends Schema.TaggedError<StaleVersion>()("StaleVersion", { present: Schema.Int }) {}
/** PostgreSQL can never hold one of the values: a NUL or a lone surrogate in JSON, for example. */
export class Unstorable extends Schema.TaggedError<Unstorable>()("Unstorable", {}) {}
/** The cursor was not given by this list with this order. */
export class BadCursor extends Schema.TaggedError<BadCursor>()("BadCursor", {}) {}

/** Refuses a change that is based on another version than the present one. */
export const refuseStale = (basedOn: number | undefined, present: number): Effect.Effect<void, StaleVersion> =>
  basedOn === undefined || basedOn === present ? Effect.void : Effect.fail(new StaleVersion({ present }))

export type WriteRefusal = AlreadyTaken | BadReference | Unstorable | DatabaseUnavailable

/** PostgreSQL is away; also when it answers and lets nobody in, as while it is restored. */
const isAway = (error: SqlError): boolean =>
  isUnavailable(error) || ("operation" in error.reason && error.reason.operation === "connect")

const constraintOf = (error: SqlError): string => {
  let cause: unknown = error.reason
  for (let depth = 0; depth < 8 && Predicate.isObject(cause); depth++) {
    if (Predicate.hasProperty(cause, "constraint") && typeof cause.constraint === "string") return cause.constraint
    cause = Predicate.hasProperty(cause, "cause") ? cause.cause : undefined
  }
  return ""
}

/** Properties by the constraint that guards them. */
const properties: ReadonlyArray<readonly [part: string, path: string]> = [
  ["serial_number", "serialNumber"],
  ["external_id", "externalId"],
  ["logical_identifier", "logicalIdentifier"],
  ["parent_device_id", "parentDeviceId"],
  ["parent_type_id", "parentTypeId"],
  ["parent_id", "parentId"],
  ["asset_type_id", "assetTypeId"],
  ["profile_id", "profileId"],
  ["space_id", "spaceId"],
  ["floor_plan_document_id", "floorPlanDocumentId"],
  ["device_type_id", "deviceTypeId"],
  ["activity_type_id", "activityTypeId"],
  ["template_id", "templateId"],
  ["slug", "slug"],
  ["name", "name"]
]
const propertyOf = (error: SqlError): string => {
  const constraint = constraintOf(error)
  return properties.find(([part]) => constraint.includes(part))?.[1] ?? ""
}

/** A failed statement as a refusal; a statement that is itself wrong is a defect. */
export const orRefusal = <A, E, R>(
  effect: Effect.Effect<A, E | SqlError, R>
): Effect.Effect<A, Exclude<E, SqlError> | WriteRefusal, R> =>
  Effect.catch(effect, (error): Effect.Effect<never, Exclude<E, SqlError> | WriteRefusal> => {
    if (!isSqlError(error)) return Effect.fail(error as Exclude<E, SqlError>)
    if (isAway(error)) return Effect.fail(new DatabaseUnavailable({ cause: error }))
    const state = sqlState(error) ?? ""
    if (state === "23505") return Effect.fail(new AlreadyTaken({ path: propertyOf(error) }))
    if (state === "23503") {
      return Effect.fail(new BadReference({ path: propertyOf(error), message: "does not exist in this organization" }))
    }
    return state.startsWith("22") ? Effect.fail(new Unstorable()) : Effect.die(error)
  })

/** The same for what only reads: only the database can be in the way. */
export const orUnavailable = <A, E, R>(
  effect: Effect.Effect<A, E | SqlError, R>
): Effect.Effect<A, Exclude<E, SqlError> | DatabaseUnavailable, R> =>
  Effect.catch(effect, (error): Effect.Effect<never, Exclude<E, SqlError> | DatabaseUnavailable> => {
    if (!isSqlError(error)) return Effect.fail(error as Exclude<E, SqlError>)
    return isAway(error) ? Effect.fail(new DatabaseUnavailable({ cause: error })) : Effect.die(error)
  })
