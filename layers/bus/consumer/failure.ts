/**
 * What a failure of a batch means for its partition.
 * @module
 */
import { Fenced, Poison } from "@argusiq/domain/errors.ts"
import { Cause, Predicate } from "effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { isRefusal, isUnavailable, sqlState } from "../../database/errors.ts"

export type Meaning =
  /** The same may succeed later. `fault`: somebody has to put something right first (an unknown topic, a missing table). */
  | { readonly _tag: "Wait"; readonly kind: string; readonly message: string; readonly fault: boolean }
  /** These records can never be taken; one of them is to blame. */
  | { readonly _tag: "Refused"; readonly error: Poison }
  /** Code of ours threw. */
  | { readonly _tag: "Broken"; readonly message: string }
  | { readonly _tag: "Fenced"; readonly error: Fenced }

const messageOf = (error: unknown): string =>
  error instanceof Error
    ? error.message || error.name
    : Predicate.isString(error)
      ? error
      : (JSON.stringify(error) ?? "?")

/** A text or a document beyond what PostgreSQL can hold (SQLSTATE class 54) depends on the values as well. */
const isRefused = (error: SqlError) => isRefusal(error) || sqlState(error)?.startsWith("54") === true

const ofSqlError = (error: SqlError): Meaning => {
  if (isRefused(error)) {
    const message = `PostgreSQL refused it: ${messageOf(error.reason.cause)} (SQLSTATE ${sqlState(error)})`
    return { _tag: "Refused", error: new Poison({ reason: "Unstorable", message }) }
  }
  const message = `${error.message}: ${messageOf(error.reason.cause)}`
  return { _tag: "Wait", kind: "DatabaseUnavailable", message, fault: !isUnavailable(error) }
}

const ofError = (error: unknown): Meaning | undefined => {
  if (isSqlError(error)) return ofSqlError(error)
  if (error instanceof Poison) return { _tag: "Refused", error }
  if (error instanceof Fenced) return { _tag: "Fenced", error }
  if (!Predicate.hasProperty(error, "_tag")) return undefined
  const cause = Predicate.hasProperty(error, "cause") ? error.cause : undefined
  switch (error._tag) {
    case "DatabaseUnavailable":
      if (isSqlError(cause)) return ofSqlError(cause)
      return { _tag: "Wait", kind: "DatabaseUnavailable", message: messageOf(cause), fault: false }
    case "BusUnavailable":
    case "CacheUnavailable":
      return { _tag: "Wait", kind: error._tag, message: messageOf(cause), fault: false }
    case "UnknownTopic":
      return { _tag: "Wait", kind: error._tag, message: messageOf(error) || JSON.stringify(error), fault: true }
    case "RecordTooLarge":
      return {
        _tag: "Refused",
        error: new Poison({
          reason: "RecordTooLarge",
          message: `What it becomes is too large: ${JSON.stringify(error)}`
        })
      }
  }
  return undefined
}

/** The order in which one of several failures decides: what may pass by itself before what condemns a record. */
const rank = (meaning: Meaning) =>
  meaning._tag === "Wait" ? (meaning.fault ? 3 : 0) : meaning._tag === "Fenced" ? 1 : meaning._tag === "Refused" ? 2 : 4

/**
 * A lost connection may surface as a defect (the rollback that failed), so defects are looked at as errors are. An
 * interruption seen here is not the loop's own, which ends without asking: something it used was shut down under it.
 */
export const meaningOf = (cause: Cause.Cause<unknown>): Meaning => {
  const meanings = cause.reasons
    .flatMap((reason) =>
      Cause.isFailReason(reason) ? [reason.error] : Cause.isDieReason(reason) ? [reason.defect] : []
    )
    .map((error): Meaning => ofError(error) ?? { _tag: "Broken", message: messageOf(error) })
    .toSorted((one, other) => rank(one) - rank(other))
  return meanings[0] ?? { _tag: "Wait", kind: "Interrupted", message: "what it used was shut down", fault: false }
}
