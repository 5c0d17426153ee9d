/**
 * Where telemetry is written: frames, latest values, last seen, and the audit copy of what devices sent.
 * @module
 */
import { DatabaseUnavailable, Poison } from "@argusiq/domain/errors.ts"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { PgTypes } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { PipelineSql } from "../database/Sql.ts"
import { Safeguards } from "../Safeguards.ts"
import { type KnownDevices } from "./LatestReadings.ts"
import { rawParameters, rawStatement } from "./rawStatement.ts"
import { readingQuery, readingsWithFreshIds } from "./readingStatement.ts"

/** What a device sent, as it was received. */
export interface RawMessage {
  readonly messageId: string
  /** Null where the bridge could not tell. */
  readonly tenantId: string | null
  readonly deviceId: string | null
  readonly receivedAt: number // epoch microseconds
  readonly payload: Uint8Array
  /** Bytes the device sent; more than `payload` holds where only its beginning was kept. */
  readonly size: number
  readonly contentType: string
  readonly source: string
  readonly mqttTopic: string | null
  readonly clientId: string | null
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** Why the bridge refused it: the tag and the sentence. */
  readonly error: string | null
  readonly errorReason: string | null
}

export class TelemetryStore extends Context.Service<
  TelemetryStore,
  {
    /**
     * Stores the messages' readings in one statement: in the transaction that the fiber is in, else in its own. A reading that is
     * stored already stays as it is; latest values move only to newer instants; a message counts once in its device's
     * messages_total and in its gateway's, when the first of its readings is stored; with it the transaction of a gateway's
     * message ends. Fails with Poison when one of the messages can never be stored.
     */
    storeReadings(
      messages: ReadonlyArray<NormalizedMessage>,
      known?: KnownDevices
    ): Effect.Effect<void, DatabaseUnavailable | Poison>
    /** Stores what is not there yet, by message id and received-at; else as `storeReadings`. */
    storeRaw(messages: ReadonlyArray<RawMessage>): Effect.Effect<void, DatabaseUnavailable | Poison>
  }
>()("argusiq/layers/telemetry/TelemetryStore") {
  static readonly layer: Layer.Layer<TelemetryStore, never, PipelineSql> = Layer.effect(
    TelemetryStore,
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const { deduplicateReadings } = yield* Safeguards
      const run = (statement: string, parameters: ReadonlyArray<unknown>) =>
        sql.unsafe(statement, parameters).pipe(Effect.mapError(toStoreError), Effect.asVoid)
      return TelemetryStore.of({
        storeReadings: (messages, known) =>
          Effect.suspend(() => {
            const stored = deduplicateReadings ? messages : readingsWithFreshIds(messages)
            const query = readingQuery(stored, known)
            return query === undefined ? Effect.void : run(query.statement, query.parameters)
          }),
        storeRaw: (messages) =>
          messages.length === 0 ? Effect.void : Effect.suspend(() => run(rawStatement, rawParameters(messages)))
      })
    })
  )
}

/** A value that the driver cannot encode is as hopeless as one that PostgreSQL refuses; the consumer loop judges the latter. */
const toStoreError = (error: SqlError): DatabaseUnavailable | Poison =>
  error.reason.cause instanceof PgTypes.CodecError
    ? new Poison({ reason: "Unstorable", message: error.reason.cause.message })
    : new DatabaseUnavailable({ cause: error })
