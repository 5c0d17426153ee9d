/**
 * Live connections: browsers hear over Socket.IO what the pipeline comes to, each organisation its own.
 *
 * Every process reads the topics itself, from their ends on and without a group, and tells its own connections. So nothing
 * has to know which process a browser is connected to, and nothing is held back for a process that is gone.
 * @module
 */
import type { Caller } from "@argusiq/domain/http/security.ts"
import type { EntityRoom } from "@argusiq/domain/realtime/requests.ts"
import type { TenantId } from "@argusiq/domain/ids.ts"
import { Identification } from "@argusiq/layers/identity/Identification.ts"
import { makeOutage } from "@argusiq/layers/outage.ts"
import { WatchableEntities } from "@argusiq/layers/realtime/WatchableEntities.ts"
import { Effect, Exit, Semaphore } from "effect"
import { createServer, type Server } from "node:http"
import { admitTo } from "./admission.ts"
import { Audience, SLOW_ROOM } from "./Audience.ts"
import type { Behind } from "./Connection.ts"
import { joinCluster } from "./cluster.ts"
import { divert } from "./door.ts"
import { EventUpdates } from "./EventUpdates.ts"
import { followTopics } from "./following.ts"
import { Counts } from "./metrics.ts"
import { News } from "./News.ts"
import { watchSessions } from "./sessions.ts"
import { settings } from "./settings.ts"
import { makeServer } from "./SocketServer.ts"
import { Telemetry } from "./Telemetry.ts"
import { tellTransactions } from "./transactions.ts"
import { Watched } from "./Watched.ts"

const FLUSH_EVERY_MILLIS = 50
const RECOVER_EVERY_MILLIS = 100
/** Looks into the database at once, so that many browsers that come back together do not take it from the rest. */
const LOOKS_AT_ONCE = 6
const REFRESH_SENDERS_EVERY = "30 seconds"
const REFRESHED_AT_ONCE = 500

const every = (millis: number, work: () => void) =>
  Effect.acquireRelease(
    Effect.sync(() => setInterval(work, millis)),
    (timer) => Effect.sync(() => clearInterval(timer))
  )

/** Whoever is slow no longer is told telemetry again, and what it has missed. */
const letRecover = (audience: Audience) => {
  for (const connection of audience.slow) {
    const recovered = connection.outbox.recover()
    if (recovered === undefined) continue
    audience.slow.delete(connection)
    void connection.socket.leave(SLOW_ROOM)
    if (recovered.hasMissed) connection.socket.emit("refetch", { reason: "slow" })
  }
}

/** A watched device may get another gateway. */
const refreshSenders = (watched: Watched, entities: WatchableEntities["Service"]) =>
  Effect.gen(function* () {
    const devices = [...watched.all()].filter(({ entityType }) => entityType === "device")
    for (const [tenantId, ours] of Map.groupBy(devices, (watch) => watch.tenantId as TenantId)) {
      for (let at = 0; at < ours.length; at += REFRESHED_AT_ONCE) {
        const some = ours.slice(at, at + REFRESHED_AT_ONCE)
        const ids = some.map(({ id }) => id)
        const found = yield* entities.find(tenantId, "device", ids)
        for (const watch of some) {
          const present = found.get(watch.id)
          if (present !== undefined && watch.connections > 0) watched.refresh(watch, present)
        }
      }
    }
  }).pipe(Effect.ignore({ log: "Debug" }), Effect.delay(REFRESH_SENDERS_EVERY), Effect.forever)

/** Serves live connections on that server until the scope closes; completes when it reads the topics and takes connections. */
export const serve = Effect.fn("Realtime.serve")(function* (server: Server) {
  const limits = yield* settings
  const identification = yield* Identification
  const entities = yield* WatchableEntities

  const counts = new Counts()
  const watched = new Watched()
  const io = makeServer(limits, counts)
  const audience = new Audience(io, counts)
  const elsewhere = yield* joinCluster(io, audience)
  const inner = createServer()
  io.attach(inner)
  yield* Effect.addFinalizer(() => Effect.promise(() => io.close()))

  const run = Effect.runPromiseExit
  const identify = async (token: string) => {
    const exit = await run(identification.identify(token))
    return Exit.isSuccess(exit) ? exit.value : undefined
  }
  const looks = Semaphore.makeUnsafe(LOOKS_AT_ONCE)
  const outage = makeOutage("Subscriptions of live connections are refused: the database does not answer")
  const find = async ({ tenantId }: Caller, { entityType, id }: EntityRoom) => {
    const look = Effect.tapCause(entities.find(tenantId, entityType, [id]), outage.began)
    const exit = await run(Effect.tap(looks.withPermits(1)(look), outage.ended))
    return Exit.isSuccess(exit) ? (exit.value.get(id) ?? "not-found") : "unavailable"
  }
  const behind: Behind = { watched, subscriptions: limits.subscriptions, identify, find }
  admitTo({ io, audience, elsewhere, limits, counts, behind })

  const telemetry = new Telemetry(watched, audience)
  const updates = new EventUpdates(audience)
  const news = new News(audience, updates)
  const present = Effect.suspend(() => {
    let bufferedBytes = 0
    for (const { outbox } of audience.connections) bufferedBytes += outbox.bytes
    return counts.tell({ connections: audience.connections.size, rooms: watched.size, bufferedBytes })
  })
  yield* every(FLUSH_EVERY_MILLIS, () => telemetry.flush(performance.now()))
  yield* every(RECOVER_EVERY_MILLIS, () => letRecover(audience))
  yield* Effect.forkScoped(Effect.forever(Effect.delay(present, "1 second")))
  yield* Effect.forkScoped(watchSessions(audience, counts))
  yield* Effect.forkScoped(updates.run())
  yield* Effect.forkScoped(tellTransactions(watched, audience))
  yield* Effect.forkScoped(refreshSenders(watched, entities))
  yield* followTopics({ audience, watched, telemetry, news, counts })
  yield* divert(server, inner)
})
