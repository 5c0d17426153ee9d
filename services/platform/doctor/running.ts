/**
 * What a running platform says of itself: its ports, its dependencies, its consumers against the log.
 * @module
 */
import { pipeline } from "@argusiq/domain/pipeline.ts"
import { Effect } from "effect"
import { connect } from "node:net"
import type { PlatformRecord } from "../DataDirectory.ts"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { fault, fine, type Finding, note } from "./Finding.ts"
import { stoppedFindings } from "./stopped.ts"

/** Seconds of lag from which a consumer is called behind. */
const BEHIND_SECONDS = 30

const accepts = (url: string) =>
  Effect.callback<boolean>((resume) => {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port), timeout: 2_000 })
    const answer = (open: boolean) => {
      socket.destroy()
      resume(Effect.succeed(open))
    }
    socket.once("connect", () => answer(true))
    socket.once("timeout", () => answer(false))
    socket.once("error", () => answer(false))
  })

export const ports = (record: PlatformRecord): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.forEach(
    [
      { what: "HTTP", url: record.http },
      { what: "MQTT", url: record.mqtt },
      ...(record.metrics === undefined ? [] : [{ what: "Metrics", url: record.metrics }])
    ],
    ({ what, url }) =>
      url === undefined
        ? Effect.succeed(note(what, "not served by this process"))
        : Effect.map(accepts(url), (open) =>
            open
              ? fine(what, url)
              : fault(what, `${url} does not answer`, "Look at the platform's log; restart it if it hangs")
          )
  )

const dependencies = Effect.gen(function* () {
  const { api } = yield* connectToPlatform
  const ready = yield* api.health.ready().pipe(Effect.mapError(inWords("/ready does not answer")))
  // What has stopped is told with all that is known of it, among the consumers.
  const told = ready.dependencies.filter(({ name }) => name !== "consumers")
  return told.map(({ name, state, detail }) => {
    if (state === "up") return fine(name, detail ?? "up")
    if (state === "degraded") return note(name, detail ?? "down; everything goes on without it")
    return fault(name, detail ?? "down", "It is tried again without end; the platform's log says more")
  })
})

/** A group that is behind and that this process does not run may be run by nobody. */
const whoReads = (partitions: ReadonlyArray<{ readonly state: string }>) =>
  partitions.some(({ state }) => state !== "elsewhere") ? "" : "; look whether the process that runs it is up"

const consumers = Effect.gen(function* () {
  const { api, record } = yield* connectToPlatform
  const { items } = yield* api.operations.consumers().pipe(Effect.mapError(inWords("Consumers cannot be listed")))
  const groups = new Map<string, Array<(typeof items)[number]>>(pipeline.map(({ group }) => [group, []]))
  for (const one of items) groups.set(one.group, [...(groups.get(one.group) ?? []), one])
  return [...groups].flatMap(([group, partitions]): ReadonlyArray<Finding> => {
    if (partitions.length === 0) return [note(group, "has never read anything: no process has run it yet")]
    const stopped = partitions.filter(({ state }) => state === "stopped")
    if (stopped.length > 0) return stoppedFindings(group, stopped, record.dataDirectory)
    const lag = partitions.reduce((sum, one) => sum + one.lag, 0)
    const seconds = Math.max(0, ...partitions.map(({ lagSeconds }) => lagSeconds))
    const waiting = partitions.find(({ state }) => state === "waiting")
    if (waiting !== undefined) return [note(group, `waits: ${waiting.detail ?? "a dependency is away"}; ${lag} behind`)]
    if (seconds > BEHIND_SECONDS)
      return [note(group, `${lag} messages behind, the oldest ${Math.round(seconds)} s old${whoReads(partitions)}`)]
    return [fine(group, lag === 0 ? "has read everything" : `${lag} messages behind`)]
  })
})

/** A question that cannot be asked is a finding too. */
const orFault = <R>(what: string, findings: Effect.Effect<ReadonlyArray<Finding>, { readonly message: string }, R>) =>
  Effect.catch(findings, (error) => Effect.succeed([fault(what, error.message, "Look at the platform's log")]))

export const services = (record: PlatformRecord) =>
  record.services.includes("api")
    ? Effect.map(
        Effect.all([orFault("Readiness", dependencies), orFault("Consumers", consumers)]),
        (findings): ReadonlyArray<Finding> => findings.flat()
      )
    : Effect.succeed([note("Consumers", "this process runs without the service api, which would know")])
