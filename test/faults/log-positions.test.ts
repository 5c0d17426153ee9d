/**
 * What a database remembers of a log and what the log holds can come apart: an older copy of the log put back, the log
 * deleted, an older backup of the database put back. The tests build on one another, on one data directory.
 */
import { Groups } from "@argusiq/domain/pipeline.ts"
import { EMBEDDED_PARTITIONS, Topics, topicTable } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll } from "vitest"
import { argusiq } from "../end-to-end/Argusiq.ts"
import { type Device, eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { connectSuperuser, type Superuser } from "../support/superuser.ts"

interface Readiness {
  readonly status: string
  readonly dependencies: ReadonlyArray<{
    readonly name: string
    readonly state: string
    readonly detail: string | null
  }>
}
interface Sender extends Device {
  partition: number
  sent: number
}

/** The groups whose offsets are rows, by the topic of endpoints' messages that they read. */
const keepers = [
  { group: Groups.deviceRules, topic: Topics.normalized },
  { group: Groups.eventEngine, topic: Topics.normalized },
  { group: Groups.rawCopy, topic: Topics.raw },
  { group: Groups.telemetryWriter, topic: Topics.normalized }
]

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)

/** Of the log that the tests begin with. */
const PARTITIONS = 12
/** In the log that begins where that one was deleted. */
const partitionWhenBegunAnew = ({ id }: Sender) => partitionOf(EMBEDDED_PARTITIONS, Buffer.from(id))

describe("where the stored offsets do not fit the log", () => {
  let platform: PlatformProcess
  let affected: Sender
  let neighbour: Sender
  let stored: Superuser | undefined

  const path = (name: string) => join(platform.dataDirectory, name)
  /** As a backup is made: owners and times are kept. */
  const copy = (from: string, to: string) => execFileSync("cp", ["-a", path(from), path(to)])
  const putBack = (name: string) => {
    rmSync(path(name), { recursive: true })
    copy(`${name}.older`, name)
  }
  const database = async () => (stored ??= await connectSuperuser(platform.dataDirectory))

  beforeAll(async () => {
    platform = await PlatformProcess.prepare()
    // The log has more partitions than one that begins here, such as the one that follows when it is deleted.
    await Effect.runPromise(
      Bus.pipe(Effect.provide(LocalBus.layer({ directory: path("bus"), partitions: PARTITIONS, minFreeBytes: 0 })))
    )
    await platform.start()
    const type = await platform.createDeviceType("Sensor", { processingMode: "endpoint" })
    const senders: Array<Sender> = []
    while (senders.length < 2) {
      const device = await platform.createDevice(`Sensor ${senders.length}`, type)
      const sender = { ...device, partition: partitionOf(PARTITIONS, Buffer.from(device.id)), sent: 0 }
      if (senders.every((other) => partitionWhenBegunAnew(other) !== partitionWhenBegunAnew(sender)))
        senders.push(sender)
    }
    ;[affected, neighbour] = senders as [Sender, Sender]
  }, 180_000)

  afterAll(async () => {
    await stored?.close()
    await platform?.dispose()
  })

  const stop = async () => {
    await stored?.close()
    stored = undefined
    assert.strictEqual(await platform.stop(), 0)
  }

  const send = async (sender: Sender, count: number) => {
    const messages = range(sender.sent, sender.sent + count).map((sequence) => ({ metrics: { sequence } }))
    const { body, status } = await platform.request("POST", "/api/v1/telemetry", messages, {
      authorization: `Bearer ${sender.key}`
    })
    assert.strictEqual(status, 202, JSON.stringify(body))
    sender.sent += count
  }

  /** The sequence numbers of every stored reading, in the order in which they were received. */
  const framesOf = async ({ id }: Sender) => {
    const rows = await (
      await database()
    ).query<{ sequence: number }>(
      `select (metrics ->> 'sequence')::int as sequence from telemetry_frames where entity_id = '${id}' order by received_at`
    )
    return rows.map(({ sequence }) => sequence)
  }
  const rawCopiesOf = async ({ id }: Sender) => {
    const [row] = await (
      await database()
    ).query<{ count: number }>(`select count(*)::int as count from telemetry_raw where device_id = '${id}'`)
    return row?.count
  }
  const areStored = async (sender: Sender, sequences: ReadonlyArray<number>) => {
    await eventually(`${sequences.length} readings`, 20, async () =>
      (await framesOf(sender)).length >= sequences.length ? true : undefined
    )
    assert.deepStrictEqual(await framesOf(sender), sequences)
    await eventually(`${sequences.length} raw messages`, 20, async () =>
      ((await rawCopiesOf(sender)) ?? 0) >= sequences.length ? true : undefined
    )
    assert.strictEqual(await rawCopiesOf(sender), sequences.length)
  }

  /** What is remembered of the partitions that `where` names. */
  const offsets = async (where: string) =>
    (await database()).query(
      `select "group", topic, partition, log_id, next::text, last_message_id::text from consumer_offsets
       where "group" in ('${Groups.telemetryWriter}', '${Groups.rawCopy}') and ${where} order by 1, 2, 3`
    )
  const affectedOnly = () => `partition = ${affected.partition} and topic in ('${Topics.raw}', '${Topics.normalized}')`

  /** Starts, and waits until the start has found that both writers stand still somewhere. */
  const startStopped = async () => {
    platform.launch()
    const { detail } = await eventually("not being ready", 60, async () => {
      const { body, status } = await platform.request("GET", "/ready")
      const consumers = (body as Readiness).dependencies.find(({ name }) => name === "consumers")
      const bothStopped = consumers?.detail?.includes(`${Groups.telemetryWriter}, ${Groups.rawCopy} stopped`) === true
      return status === 503 && bothStopped ? consumers : undefined
    })
    assert.include(detail, "npx argusiq doctor")
  }

  const command = (...parameters: ReadonlyArray<string>) =>
    argusiq(parameters, { ARGUSIQ_DATA_DIR: platform.dataDirectory })

  /**
   * Carries out what doctor proposes; of many proposals a group's at once. Answers those that are about messages: events of
   * the devices' coming online may have been in the log as well.
   */
  const accept = async (at: "each" | "group" = "each") => {
    const { output } = await command("doctor")
    const proposed = [...output.matchAll(/npx argusiq doctor --accept (\S+)/g)].map(([, name]) => name ?? "")
    for (const name of at === "each" ? proposed : new Set(proposed.map((name) => name.split("/")[0] ?? ""))) {
      const accepted = await command("doctor", "--accept", name)
      assert.strictEqual(accepted.code, 0, accepted.errors)
      assert.include(accepted.output, "records that the log has lost never come to this consumer")
    }
    await platform.ready(60)
    assert.strictEqual((await command("doctor")).code, 0)
    return proposed.filter((name) => !name.includes(`/${Topics.events}`))
  }

  it("a log that is shorter than the offsets stops the partitions that lost records, and no other", async () => {
    await send(affected, 10)
    await send(neighbour, 10)
    await areStored(affected, range(0, 10))
    await areStored(neighbour, range(0, 10))
    await stop()
    copy("bus", "bus.older")
    await platform.start()
    await send(affected, 10)
    await areStored(affected, range(0, 20))
    const before = await offsets(affectedOnly())
    await stop()
    putBack("bus")

    await startStopped()
    for (const { group, topic } of keepers) {
      const told = `${group} has stopped on ${topic}/${affected.partition}: the stored offset lies beyond`
      await eventually(told, 20, () => (platform.log().includes(told) ? true : undefined))
      assert.notInclude(platform.log(), `${group} has stopped on ${topic}/${neighbour.partition}:`)
    }
    await send(affected, 15) // so many that the stored offset lies within the log again
    await send(neighbour, 5)
    await areStored(neighbour, range(0, 15))
    assert.deepStrictEqual(await framesOf(affected), range(0, 20))
    assert.deepStrictEqual(await offsets(affectedOnly()), before)
    const doctor = await command("doctor")
    assert.strictEqual(doctor.code, 1)
    assert.include(doctor.output, `has stopped on ${Topics.normalized}, partition ${affected.partition}`)
    assert.include(doctor.output, "offset 20")
    assert.include(doctor.output, "holds 0 to ")

    await stop()
    await startStopped()
    assert.include(platform.log(), "not the remembered")
    assert.deepStrictEqual(await framesOf(affected), range(0, 20))
    assert.deepStrictEqual(await offsets(affectedOnly()), before)

    assert.sameMembers(
      await accept(),
      keepers.map(({ group, topic }) => `${group}/${topic}/${affected.partition}`)
    )
    await areStored(affected, range(0, 35))
    await areStored(neighbour, range(0, 15))
  }, 240_000)

  it("a deleted log stops every partition of the writers, while the other services go on", async () => {
    const before = await offsets("true")
    await stop()
    rmSync(path("bus"), { recursive: true })
    for (const sender of [affected, neighbour]) sender.partition = partitionWhenBegunAnew(sender)

    await startStopped()
    assert.include(platform.log(), "the stored offset belongs to another log")
    await send(affected, 5)
    await send(neighbour, 5)
    await eventually("dispatching and normalizing all", 20, async () => {
      const { items } = await platform.api<{
        readonly items: ReadonlyArray<{
          readonly name: string
          readonly partitions: ReadonlyArray<{ readonly end: string }>
        }>
      }>("GET", "/topics")
      const partitions = items.find(({ name }) => name === Topics.normalized)?.partitions ?? []
      return partitions.reduce((sum, { end }) => sum + Number(end), 0) === 10 ? true : undefined
    })
    assert.deepStrictEqual(await framesOf(affected), range(0, 35))
    assert.deepStrictEqual(await offsets("true"), before)
    const stillThere = await command("doctor")
    assert.strictEqual(stillThere.code, 1)
    assert.include(
      stillThere.output,
      `has stopped on ${Topics.normalized}, partition ${range(0, EMBEDDED_PARTITIONS).join(", ")}`
    )

    const accepted = await accept("group")
    for (const { group, topic } of keepers) assert.include(accepted, `${group}/${topic}`)
    await areStored(affected, range(0, 40))
    await areStored(neighbour, range(0, 20))
  }, 240_000)

  it("records that retention removed before they were stored stop their partitions; where the log has them, they are stored", async () => {
    await stop()
    copy("postgres", "postgres.older")
    await platform.start()
    await send(affected, 10)
    await areStored(affected, range(0, 50))
    const between = Date.now()
    await sleep(2000)
    await send(neighbour, 5)
    await areStored(neighbour, range(0, 25))
    await stop()
    putBack("postgres")
    const shortLived = [...topicTable.values()].map((topic) => ({ ...topic, retentionMillis: Date.now() - between }))
    const removed = await Effect.runPromise(
      Effect.flatMap(LocalBus.LogRetention, ({ run }) => run).pipe(
        Effect.provide(LocalBus.layer({ directory: path("bus"), topics: shortLived, minFreeBytes: 0 }))
      )
    )
    assert.isAbove(removed.removed, 0)

    await startStopped()
    for (const { group } of keepers) {
      const told = new RegExp(`${group} has stopped on \\S+: the stored offset lies below the log's start`)
      await eventually(String(told), 20, () => (told.test(platform.log()) ? true : undefined))
    }
    await areStored(neighbour, range(0, 25))
    const before = await offsets(affectedOnly())
    await send(affected, 5)
    await send(neighbour, 5)
    await areStored(neighbour, range(0, 30))
    assert.deepStrictEqual(await framesOf(affected), range(0, 40))
    assert.deepStrictEqual(await offsets(affectedOnly()), before)

    assert.sameMembers(
      await accept(),
      keepers.map(({ group, topic }) => `${group}/${topic}/${affected.partition}`)
    )
    await areStored(affected, [...range(0, 40), ...range(50, 55)])
    await areStored(neighbour, range(0, 30))
  }, 240_000)
})
