import * as KafkaBus from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { OwnerSql } from "../../layers/database/Sql.ts"
import { prepareDevices, readHoldings, startSender } from "../faults/kills.ts"
import { startHttpSender } from "../faults/httpSender.ts"
import { joined, judge, readLedger, spotless, total } from "../faults/ledger.ts"
import { ADMIN_EMAIL, ADMIN_PASSWORD, eventually } from "../support/PlatformProcess.ts"
import { databaseEnvironment, emptyDatabase, TestDatabase } from "../support/postgres.ts"
import { Cluster } from "./Cluster.ts"

const OVER_MQTT = 12
const OVER_HTTP = 4
/** Each device over HTTP, one message after the other. */
const HTTP_PAUSE_MILLIS = 20

layer(emptyDatabase, { excludeTestServices: true, timeout: 120_000 })("two processes of each service", (it) => {
  it.effect(
    "lose, double and reorder nothing when one of each is killed under load",
    () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const database = databaseEnvironment(yield* TestDatabase)
        const cluster = yield* Effect.acquireRelease(
          Effect.promise(() => Cluster.start(database)),
          (started) => Effect.promise(() => started.dispose())
        )
        const query = <Row extends object>(statement: string) => Effect.runPromise(sql.unsafe<Row>(statement))
        yield* Effect.promise(() => surviveKills(cluster, query))
      }),
    180_000
  )
})

const surviveKills = async (
  cluster: Cluster,
  query: <Row extends object>(statement: string) => Promise<ReadonlyArray<Row>>
): Promise<void> => {
  const [api, otherApi] = cluster.both("api")
  for (const process of cluster.processes) {
    const metrics = await fetch(`${process.healthUrl}/metrics`)
    assert.strictEqual(metrics.status, 200)
  }
  const devices = await prepareDevices(api, OVER_MQTT + OVER_HTTP)
  const login = await api.request("POST", "/api/v1/auth/login", { email: ADMIN_EMAIL, password: ADMIN_PASSWORD })
  const authorization = `Bearer ${(login.body as { accessToken: string }).accessToken}`
  const mqttDevices = devices.slice(0, OVER_MQTT)
  const httpDevices = devices.slice(OVER_MQTT)
  await cluster.mosquitto.admit(mqttDevices)

  const directory = mkdtempSync(join(tmpdir(), "argusiq-cluster-"))
  const [mqttLedger, httpLedger] = [join(directory, "mqtt"), join(directory, "http")]
  const sender = startSender({
    port: cluster.mosquitto.port,
    ledger: mqttLedger,
    devices: mqttDevices,
    messagesPerSecond: 300,
    maxOutstanding: 200,
    drainMillis: 60_000
  })
  const posting = startHttpSender({
    devices: httpDevices,
    bridges: cluster.both("bridge"),
    ledger: httpLedger,
    pauseMillis: HTTP_PAUSE_MILLIS
  })
  try {
    const countStored = async () =>
      (await query<{ count: number }>("select count(*)::int as count from telemetry_frames"))[0]?.count ?? 0
    await eventually("the first readings", 30, async () => ((await countStored()) > 200 ? true : undefined))

    const reader = cluster.both("bridge").find((bridge) => bridge.log().includes("Reading v1/telemetry"))
    assert.isDefined(reader, "one bridge reads mosquitto")
    const victims = [
      reader,
      ...(["dispatcher", "telemetry-writer", "api"] as const).map((service) => cluster.both(service)[0])
    ]
    for (const victim of victims) {
      await victim?.kill()
      await sleep(300)
    }
    await sleep(2_000)
    await posting.finish()
    const { outstanding } = await sender.finish()
    assert.strictEqual(outstanding, 0, "mosquitto took every message")

    const mqtt = readLedger(mqttLedger, OVER_MQTT)
    const http = readLedger(httpLedger, OVER_HTTP)
    const ledger = joined(mqtt, http)
    await eventually(
      "the rest storing what all have accepted",
      90,
      async () => ((await countStored()) >= total(ledger.acknowledged) ? true : undefined),
      250
    )
    const holdings = await readHoldings(
      {
        query,
        onLog: (reading) =>
          Effect.runPromise(
            Effect.provide(reading, KafkaBus.layer({ brokers: cluster.kafka.addresses.split(","), clientId: "test" }))
          )
      },
      devices
    )
    assert.deepStrictEqual(judge(ledger, holdings), spotless)
    assert.isAbove(total(http.acknowledged), 50)
    assert.isAbove(total(mqtt.acknowledged), 500)

    // A token of the API that is gone is as good at the other one.
    const last = (holdings.stored[0]?.length ?? 0) - 1
    const address = `/api/v1/telemetry/device/${devices[0]?.id}/latest`
    const { body, status } = await otherApi.request("GET", address, undefined, { authorization })
    assert.strictEqual(status, 200)
    assert.strictEqual((body as { metrics: { sequence: { value: number } } }).metrics.sequence.value, last)
  } finally {
    sender.kill()
    posting.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}
