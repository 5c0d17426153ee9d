/**
 * Transactions of the gateways that somebody watches, looked at once a second and told where they have moved on.
 * @module
 */
import type { Transaction } from "@argusiq/domain/http/transactions.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { makeOutage } from "@argusiq/layers/outage.ts"
import { transactionStates } from "@argusiq/layers/realtime/transactionStates.ts"
import { Effect } from "effect"
import type { Audience } from "./Audience.ts"
import type { Watched } from "./Watched.ts"

const LOOK_EVERY = "1 second"

const stateOf = ({ completedAt, error, missingChunks, processedDevices, status, totalLogicalDevices }: Transaction) =>
  JSON.stringify([status, processedDevices, totalLogicalDevices, completedAt, error, missingChunks])

const hasMovedSince = ({ completedAt, startedAt }: Transaction, millis: number): boolean =>
  Date.parse(completedAt ?? startedAt) >= millis

/** Never ends. What a gateway's transactions were when somebody began to watch it is not told. */
export const tellTransactions = (watched: Watched, audience: Audience): Effect.Effect<never, never, PipelineSql> =>
  Effect.gen(function* () {
    const sql = yield* PipelineSql
    const outage = makeOutage("Transactions of gateways cannot be read; what they have come to is told when it is over")
    /** By gateway and transaction, what was seen last. */
    let seen = new Map<string, ReadonlyMap<string, string>>()
    const look = Effect.gen(function* () {
      const gateways = new Map([...watched.all()].flatMap((watch) => (watch.isGateway ? [[watch.id, watch]] : [])))
      if (gateways.size === 0) return seen.clear()
      const states = yield* transactionStates(sql, [...gateways.keys()])
      const present = new Map<string, Map<string, string>>(gateways.keys().map((id) => [id, new Map()]))
      for (const transaction of states) {
        const { gatewayDeviceId, id } = transaction
        const state = stateOf(transaction)
        present.get(gatewayDeviceId)?.set(id, state)
        const watch = gateways.get(gatewayDeviceId)
        const before = seen.get(gatewayDeviceId)
        const isNews = before === undefined ? hasMovedSince(transaction, watch?.since ?? 0) : before.get(id) !== state
        if (watch === undefined || !isNews) continue
        audience.tell([watch.room], { name: "transaction:updated", payload: transaction })
      }
      seen = present
    })
    return yield* look.pipe(
      Effect.andThen(outage.ended),
      Effect.catchCause(outage.began),
      Effect.andThen(Effect.sleep(LOOK_EVERY)),
      Effect.forever
    )
  })
