/**
 * What a failed statement means for the one who ran it: PostgreSQL is away (wait and try again), it refuses these values
 * (they can never be stored), or the statement itself is wrong (a fault of ours).
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Predicate } from "effect"
import { type SqlError } from "effect/sql/SqlError"

/** Five characters of a class that PostgreSQL uses: operating-system codes such as EPIPE are no SQLSTATE. */
const sqlStatePattern = /^(\d\d|F0|HV|P0|XX)[0-9A-Z]{3}$/

/** The five-character SQLSTATE that PostgreSQL answered with; undefined when it did not answer. */
export const sqlState = (error: SqlError): string | undefined => {
  let cause: unknown = error.reason.cause
  for (let depth = 0; depth < 8 && Predicate.isObject(cause); depth++) {
    if (Predicate.hasProperty(cause, "code") && typeof cause.code === "string" && sqlStatePattern.test(cause.code)) {
      return cause.code
    }
    cause = Predicate.hasProperty(cause, "cause") ? cause.cause : undefined
  }
  return undefined
}

/**
 * PostgreSQL read the values and will never take them: data exception (22), integrity constraint (23), or a text with a
 * NUL character.
 */
export const isRefusal = (error: SqlError): boolean => {
  const state = sqlState(error)
  return state !== undefined && (state.startsWith("22") || state.startsWith("23"))
}

/** Insufficient resources (disk full, too many connections), operator intervention, a database that takes no connections at
 * the moment, system error: they pass. */
const passing = /^(08|53|57P|58|40|55000|55P03|57014|25006)/

/** The same statement may succeed later, without anybody changing it. */
export const isUnavailable = (error: SqlError): boolean => {
  if (error.isRetryable) return true
  const state = sqlState(error)
  return state !== undefined && passing.test(state)
}

/** The error a partition waits on, for a failure that `isUnavailable`; anything else stays what it is. */
export const toDatabaseUnavailable = (error: SqlError): DatabaseUnavailable | SqlError =>
  isUnavailable(error) ? new DatabaseUnavailable({ cause: error }) : error

/** PostgreSQL's own words for a failure, with detail, hint and place where it gave them. */
export const describeSqlError = (error: SqlError): string => {
  const parts: Array<string> = []
  let cause: unknown = error.reason.cause
  for (let depth = 0; depth < 8 && Predicate.isObject(cause); depth++) {
    for (const key of ["message", "detail", "hint", "where"]) {
      const part = Predicate.hasProperty(cause, key) ? cause[key] : undefined
      if (typeof part === "string" && part !== "" && !parts.includes(part)) parts.push(part)
    }
    cause = Predicate.hasProperty(cause, "cause") ? cause.cause : undefined
  }
  return parts.length > 0 ? parts.join("; ") : error.message
}
