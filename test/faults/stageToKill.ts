/**
 * A process whose demultiplexer or relay is killed when it reaches a place. It ends by itself with 3 when it does not.
 * Arguments: the log's directory, the URL of the database, which of the two, and the place.
 */
import { demux } from "@argusiq/demux/Demux.ts"
import { Failpoints as DemuxFailpoints } from "@argusiq/demux/Failpoints.ts"
import { Failpoints as RelayFailpoints } from "@argusiq/jobs/Failpoints.ts"
import { relayEvents } from "@argusiq/jobs/Relay.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { Effect, Layer, Redacted } from "effect"

const [directory, url, stage, place] = process.argv.slice(2) as [string, string, "demux" | "relay", string]
const pool = { url: Redacted.make(url), maxConnections: 4, statementTimeout: 0 }
const world = Layer.mergeAll(ProfileCache.layer({ size: 1_000 }), GatewayChildren.layer, Transactions.layer).pipe(
  Layer.provideMerge(pools({ owner: pool, pipeline: pool, app: pool })),
  Layer.provideMerge(LocalBus.layer({ directory, minFreeBytes: 0 }))
)

const die = (at: string) => {
  if (at === place) process.kill(process.pid, "SIGKILL")
}

setTimeout(() => process.exit(3), 30_000)
const relaying = Effect.forever(Effect.andThen(relayEvents, Effect.sleep("50 millis")))
await Effect.runPromise(
  (stage === "demux" ? Effect.flatMap(demux, runConsumer) : relaying).pipe(
    Effect.provide(world),
    Effect.provideService(DemuxFailpoints, die),
    Effect.provideService(RelayFailpoints, die)
  )
)
