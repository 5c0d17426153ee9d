/**
 * The error taxonomy: *Retryable* errors make a partition wait, *Poison* goes to a dead-letter topic, the rest stops a
 * partition until its cause is removed.
 * @module
 */
import { Schema } from "effect"
import { InstantFromString, Uuid } from "./ids.ts"

/** The same input may succeed later: the partition waits, nothing is dead-lettered. */
export class BusUnavailable extends Schema.TaggedError<BusUnavailable>()("BusUnavailable", {
  cause: Schema.Defect()
}) {}
export class DatabaseUnavailable extends Schema.TaggedError<DatabaseUnavailable>()("DatabaseUnavailable", {
  cause: Schema.Defect()
}) {}
export class CacheUnavailable extends Schema.TaggedError<CacheUnavailable>()("CacheUnavailable", {
  cause: Schema.Defect()
}) {}
export type Retryable = BusUnavailable | DatabaseUnavailable | CacheUnavailable
/** Another member owns the partition: roll back, stop, rejoin. Neither retried nor dead-lettered. */
export class Fenced extends Schema.TaggedError<Fenced>()("Fenced", {
  group: Schema.String,
  topic: Schema.String,
  partition: Schema.Int
}) {}
/** The stored offset is not of this log: the partition stops until a person decides. */
export class OffsetOutOfLog extends Schema.TaggedError<OffsetOutOfLog>()("OffsetOutOfLog", {
  group: Schema.String,
  topic: Schema.String,
  partition: Schema.Int,
  offset: Schema.String,
  start: Schema.String,
  end: Schema.String,
  logId: Schema.String,
  storedLogId: Schema.String
}) {}
export class RecordTooLarge extends Schema.TaggedError<RecordTooLarge>()("RecordTooLarge", {
  topic: Schema.String,
  bytes: Schema.Int,
  limit: Schema.Int
}) {}
export class UnknownTopic extends Schema.TaggedError<UnknownTopic>()("UnknownTopic", { topic: Schema.String }) {} // a fault of ours
export const PoisonReason = Schema.Literals([
  "InvalidTopic",
  "UnknownDevice",
  "TenantMismatch",
  "DeviceDecommissioned",
  "PayloadTooLarge", // bridge
  "UnknownProcessingMode",
  "Undecodable",
  "PayloadTooDeep",
  "TooManyMetrics",
  "SchemaMismatch",
  "ExtractionFailed",
  "ExpressionFailed",
  "ExpressionTimeout",
  "UnknownChildDevice",
  "ChildLimitReached",
  "ChunkTimeout",
  "ChunkContradiction",
  "ChunkLimitReached",
  "RecordTooLarge",
  "Unstorable"
])
/** The same input can never succeed under this configuration. */
export class Poison extends Schema.TaggedError<Poison>()("Poison", {
  reason: PoisonReason,
  message: Schema.String,
  path: Schema.optionalKey(Schema.String),
  limit: Schema.optionalKey(Schema.Finite),
  offset: Schema.optionalKey(Schema.Int) // of the first byte of the payload that could not be read
}) {}
/** Added to the record on `<topic>.dlq`; its key, value and other headers stay untouched. */
export const DeadLetterHeaders = Schema.Struct({
  "dlq-id": Uuid, // v5(group, topic, message id, key, entry or reading id); a failed retry keeps its first id
  "dlq-group": Schema.String, // argusiq.bridge: retried by running the bridge's checks again (a shared function), without retry-group
  "dlq-stage": Schema.String, // the service
  "dlq-reason": PoisonReason,
  "dlq-message": Schema.String.check(Schema.isMaxLength(2_000)),
  "dlq-path": Schema.optionalKey(Schema.String),
  "dlq-topic": Schema.String, // where a retry goes
  "dlq-partition": Schema.optionalKey(Schema.FiniteFromString), // absent from the bridge, as the offset
  "dlq-offset": Schema.optionalKey(Schema.String),
  "dlq-entry": Schema.optionalKey(Schema.FiniteFromString), // index of the failed entry; absent: the whole record
  "dlq-attempts": Schema.FiniteFromString,
  "dlq-failed-at": InstantFromString
})
