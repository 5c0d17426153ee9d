/**
 * Identities and the scalar vocabulary of the product. Ids are lower-case UUIDs; instants are epoch MICROseconds in a
 * JSON number (safe until 2255, the resolution of PostgreSQL's timestamptz), ISO 8601 at the REST edge only.
 * @module
 */
import { Effect, Schema } from "effect"

/** A decoding default for {@link Schema.withDecodingDefaultKey}: what an absent key means. */
export const orElse = <const A>(value: A) => Effect.succeed(value)

export const Uuid = Schema.String.check(Schema.isUUID(), Schema.isLowercased())
export const TenantId = Uuid.pipe(Schema.brand("TenantId")) // `organizationId` in REST and MQTT topics, nowhere else
export const DeviceId = Uuid.pipe(Schema.brand("DeviceId")) // an auto-created child: v5(tenant, gateway, logical identifier)
export const DeviceTypeId = Uuid.pipe(Schema.brand("DeviceTypeId"))
export const AssetId = Uuid.pipe(Schema.brand("AssetId"))
export const AssetTypeId = Uuid.pipe(Schema.brand("AssetTypeId"))
export const LinkId = Uuid.pipe(Schema.brand("LinkId"))
export const RuleId = Uuid.pipe(Schema.brand("RuleId"))
export const MessageId = Uuid.pipe(Schema.brand("MessageId")) // v7 from the bridge: one per acknowledgement
/** v5(entity, timestamp, SHA-256 of the entry's JSON, index in the message, part): the identity of what was measured. */
export const ReadingId = Uuid.pipe(Schema.brand("ReadingId"))
export type TenantId = typeof TenantId.Type
export type DeviceId = typeof DeviceId.Type
export type DeviceTypeId = typeof DeviceTypeId.Type
export type AssetId = typeof AssetId.Type
export type AssetTypeId = typeof AssetTypeId.Type
export type LinkId = typeof LinkId.Type
export type RuleId = typeof RuleId.Type
export type MessageId = typeof MessageId.Type
export type ReadingId = typeof ReadingId.Type
/** Any text of 1 to 500 UTF-16 units that PostgreSQL and JavaScript can hold as a key. */
export const MetricKey = Schema.String.check(
  Schema.isNonEmpty(),
  Schema.isMaxLength(500),
  Schema.makeFilter(
    (key: string) =>
      (key.isWellFormed() && !/\p{Cc}/u.test(key) && key !== "__proto__") ||
      "control character, lone surrogate or __proto__ in metric key"
  )
)
export const metricMap = <S extends Schema.Constraint>(value: S) =>
  Schema.Record(Schema.String, value).check(Schema.isPropertyNames(MetricKey))
/** Bounded by year 1 and 2255; what lies outside counts as unreadable. */
export const Instant = Schema.Int.check(
  Schema.isBetween({ minimum: -62_135_596_800_000_000, maximum: Number.MAX_SAFE_INTEGER })
)
export type Instant = typeof Instant.Type
export const InstantFromString = Schema.FiniteFromString.pipe(Schema.decodeTo(Instant))
