/**
 * The fleets of the partitions that this process has: read from the rows when a partition is assigned, given up when it has gone.
 * @module
 */
import { DatabaseUnavailable, type Retryable } from "@argusiq/domain/errors.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import { loadConnections } from "@argusiq/layers/connectivity/ConnectionStates.ts"
import { readAcceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Clock, Effect, Semaphore, Stream } from "effect"
import { Fleet } from "./Fleet.ts"
import { eachSighting } from "./sightings.ts"
import type { Types } from "./Types.ts"

/** A partition that has not ticked for so long is another's by now. */
const FORGOTTEN_AFTER_MILLIS = 60_000

interface Held {
  fleet: Fleet | undefined
  /** Of the assignments that the fleet was read in, by topic. */
  epochs: ReadonlyMap<string, bigint>
  /** Rises when a change is in the rows: what was read meanwhile may be without it. */
  changes: number
  readonly loading: Semaphore.Semaphore
  usedAt: number
}

export const makeFleets = Effect.fnUntraced(function* (types: Types) {
  const sql = yield* PipelineSql
  const bus = yield* Bus
  const clock = yield* Clock.Clock
  const all = new Map<number, Held>()

  const heldOf = (partition: number): Held => {
    const now = clock.currentTimeMillisUnsafe()
    let held = all.get(partition)
    if (held === undefined) {
      for (const [number, { usedAt }] of all) if (now - usedAt > FORGOTTEN_AFTER_MILLIS) all.delete(number)
      held = { fleet: undefined, epochs: new Map(), changes: 0, loading: Semaphore.makeUnsafe(1), usedAt: now }
      all.set(partition, held)
    }
    held.usedAt = now
    return held
  }

  /**
   * How far this group and the telemetry writer, whose rows tell when devices were last seen, are in a partition's messages, and
   * of which assignments the partition is.
   */
  const positionsOf = Effect.fnUntraced(function* (partition: number) {
    const rows = yield* sql<{
      group: string
      topic: string
      next: bigint | null
      time: bigint | null
      epoch: bigint
    }>`
      select "group", topic, next, epoch, (extract(epoch from partition_time) * 1000000)::bigint as time
      from consumer_offsets
      where topic in (${Topics.normalized}, ${Topics.connections}) and partition = ${partition} and log_id = ${bus.logId}
        and "group" in (${Groups.eventEngine}, ${Groups.telemetryWriter})
    `.pipe(Effect.mapError((cause) => new DatabaseUnavailable({ cause })))
    const of = (name: string, read: string) => rows.find(({ group, topic }) => group === name && topic === read)
    const ours = of(Groups.eventEngine, Topics.normalized)
    return {
      ours: ours?.next ?? 0n,
      writers: of(Groups.telemetryWriter, Topics.normalized)?.next ?? 0n,
      time: Number(ours?.time ?? 0),
      connectionsTime: Number(of(Groups.eventEngine, Topics.connections)?.time ?? 0),
      epochs: new Map(
        rows.filter(({ group }) => group === Groups.eventEngine).map(({ epoch, topic }) => [topic, epoch] as const)
      )
    }
  })

  const load = Effect.fnUntraced(function* (partition: number) {
    const { connectionsTime, epochs, ours, time, writers } = yield* positionsOf(partition)
    const stored = yield* loadConnections(sql, partition, bus.partitions, time)
    yield* types.know(new Set(stored.map(({ deviceTypeId }) => deviceTypeId)), time)
    const fleet = new Fleet(partition, stored, types.offlineAfterSeconds)
    fleet.telemetryTime = time
    fleet.connectionsTime = connectionsTime
    fleet.learnOutages(yield* readAcceptance(sql))
    if (fleet.size === 0 || writers >= ours) return { fleet, epochs }
    // What this group has read and the telemetry writer has not stored yet.
    yield* bus.read({ topic: Topics.normalized, partition }, writers, ours).pipe(
      Stream.runForEach((record) =>
        Effect.sync(() => {
          eachSighting(record, (deviceId, _tenant, _type, at) => fleet.recall(deviceId, at))
        })
      ),
      Effect.catchTag("UnknownTopic", (unknown) => Effect.die(unknown))
    )
    return { fleet, epochs }
  })

  const loadUnchanged = Effect.fnUntraced(function* (held: Held, partition: number) {
    for (;;) {
      const before = held.changes
      const loaded = yield* load(partition)
      if (held.changes === before) return loaded
    }
  })

  const current = (held: Held, { topic }: TopicPartition, epoch: bigint) =>
    held.epochs.get(topic) === epoch ? held.fleet : undefined

  /** The fleet of a partition, within an assignment. */
  const of = (at: TopicPartition, epoch: bigint): Effect.Effect<Fleet, Retryable> =>
    Effect.suspend(() => {
      const held = heldOf(at.partition)
      const fleet = current(held, at, epoch)
      if (fleet !== undefined) return Effect.succeed(fleet)
      return held.loading.withPermit(
        Effect.gen(function* () {
          const meanwhile = current(held, at, epoch)
          if (meanwhile !== undefined) return meanwhile
          const loaded = yield* loadUnchanged(held, at.partition)
          if (held.fleet !== undefined) loaded.fleet.recallAll(held.fleet)
          held.fleet = loaded.fleet
          held.epochs = new Map(loaded.epochs).set(at.topic, epoch)
          return loaded.fleet
        })
      )
    })

  return {
    of,
    /** A change of the fleet is in the rows. Where they were read before that, they are read again. */
    stored: (fleet: Fleet) => {
      const held = all.get(fleet.partition)
      if (held === undefined) return
      held.changes++
      if (held.fleet !== fleet) held.epochs = new Map()
    },
    /** After the types were asked for again. */
    learnTypes: () => {
      for (const { fleet } of all.values()) fleet?.learnTypes()
    }
  }
})
