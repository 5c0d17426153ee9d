/**
 * Cold rooms of the demo organisation on a real platform, from the sensor's message to the technician's work; and that live,
 * backtested and rebuilt say the same there, while a rule is edited and the platform restarts in between.
 */
import { assert, describe, it } from "@effect/vitest"
import { connectAsync } from "mqtt"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll } from "vitest"
import { eventually, PlatformProcess } from "../support/PlatformProcess.ts"

const roomId = "d0000000-0000-4000-8000-000000000602" // Cold room 1
const warehouseId = "d0000000-0000-4000-8000-000000000601"
const sensorId = "d0000000-0000-4000-8000-000000000301"
const typesRuleId = "d0000000-0000-4000-8000-000000000901" // above 8, critical 12, for 60 s
const MINUTE = 60_000

interface Alarm {
  readonly id: string
  readonly ruleId: string
  readonly state: string
  readonly severity: string
  readonly startedAt: string
  readonly endedAt: string | null
  readonly value: number | null
  readonly settled: boolean
}
interface Page<A> {
  readonly items: ReadonlyArray<A>
}
interface Point {
  readonly timestamp: string
  readonly value: number
}

describe("a cold room that gets warm", () => {
  let platform: PlatformProcess
  let key: string
  const start = Math.floor(Date.now() / MINUTE) * MINUTE - 20 * MINUTE
  const at = (minute: number) => new Date(start + minute * MINUTE).toISOString()
  const span = { from: at(-1), to: new Date(start + 60 * MINUTE).toISOString() }

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare({ env: { ARGUSIQ_DEMO: "1" } })).start()
    key = (await platform.api<{ key: string }>("POST", `/devices/${sensorId}/api-keys`, {})).key
  }, 120_000)
  afterAll(() => platform.dispose())

  const send = async (readings: ReadonlyArray<{ readonly timestamp: string; readonly temperature: number }>) => {
    const client = await connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, { username: sensorId, password: key })
    for (const reading of readings) {
      await client.publishAsync(`devices/${sensorId}/telemetry`, JSON.stringify(reading), { qos: 1 })
    }
    await client.endAsync()
  }
  const alarmsOf = async (ruleId: string) => {
    const { items } = await platform.api<Page<Alarm>>(
      "GET",
      `/alarms?entityId=${roomId}&ruleId=${ruleId}&sort=startedAt`
    )
    return items
  }
  const alarmOf = (what: string, ruleId: string, is: (alarm: Alarm) => boolean) =>
    eventually(what, 60, async () => (await alarmsOf(ruleId)).find(is))
  const temperatures = async (assetId: string) => {
    const path = `/telemetry/asset/${assetId}?metricKey=temperature&startTime=${span.from}&endTime=${span.to}`
    return (await platform.api<{ data: ReadonlyArray<Point> }>("GET", path)).data
  }
  const health = async () =>
    (await platform.api<{ history: ReadonlyArray<object> }>("GET", `/assets/${roomId}/health?startTime=${span.from}`))
      .history
  const completed = (jobId: string) =>
    eventually(`the end of job ${jobId}`, 60, async () => {
      const { status } = await platform.api<{ status: string }>("GET", `/jobs/${jobId}`)
      return status === "queued" || status === "running" ? undefined : status
    })

  it("raises its alarm at the instant that the breach had held, and makes one piece of work of it", async () => {
    const type = await platform.api<{ id: string }>("POST", "/activity-types", { name: "Repair" })
    await platform.api("POST", "/activity-templates", {
      name: "Look after the cooling",
      activityTypeId: type.id,
      triggerEventType: "THRESHOLD_BREACH",
      checklist: [{ item: "Door closed", required: true }]
    })
    const warm = [4, 4, 9, 9.5, 9, 13, 13.5, 13, 5, 4]
    await send(warm.map((temperature, minute) => ({ timestamp: at(minute), temperature })))
    const alarm = await alarmOf("the alarm and its end", typesRuleId, ({ endedAt }) => endedAt !== null)
    assert.strictEqual(alarm.startedAt, at(3), "a minute after it was above 8")
    assert.strictEqual(alarm.endedAt, at(8), "with the first value below 7.5")
    assert.strictEqual(alarm.severity, "critical", "it was above 12 for longer than a minute")
    const activity = await eventually("the activity", 30, async () => {
      const { items } = await platform.api<Page<{ id: string; name: string; alarmId: string }>>(
        "GET",
        `/activities?targetId=${roomId}`
      )
      return items.find(({ alarmId }) => alarmId === alarm.id)
    })
    assert.strictEqual(activity.name, "Look after the cooling")
  }, 90_000)

  it("goes on by a rule as it was edited, and by its state from before a restart", async () => {
    const rule = await platform.api<{ id: string; version: number }>("POST", "/rules", {
      name: "Too warm at once",
      entityType: "asset",
      entityId: roomId,
      metricKey: "temperature",
      condition: { operator: ">", value: 20 },
      hysteresis: 1,
      cooldownSeconds: 0
    })
    await sleep(3_000) // a rule counts from two seconds after it was saved
    await send([{ timestamp: new Date().toISOString(), temperature: 10 }])
    await platform.api("PATCH", `/rules/${rule.id}`, { condition: { operator: ">", value: 8 } })
    await sleep(3_000)
    await send([{ timestamp: new Date().toISOString(), temperature: 10.5 }])
    const raised = await alarmOf("the alarm by the edited rule", rule.id, () => true)
    assert.strictEqual(raised.value, 10.5)

    assert.strictEqual(await platform.stop(), 0)
    await platform.start()
    await send([{ timestamp: new Date().toISOString(), temperature: 6.5 }])
    const ended = await alarmOf("the end of the alarm", rule.id, ({ endedAt }) => endedAt !== null)
    assert.strictEqual(ended.id, raised.id)
    assert.strictEqual((await alarmsOf(rule.id)).length, 1)
  }, 120_000)

  it("is the same backtested", async () => {
    const rule = {
      name: "As the type has it",
      entityType: "asset",
      metricKey: "temperature",
      warningThreshold: 8,
      criticalThreshold: 12,
      hysteresis: 0.5,
      debounceSeconds: 60
    }
    const { alarms } = await platform.api<{ alarms: ReadonlyArray<Alarm> }>("POST", "/rules/backtest", {
      rule,
      entityIds: [roomId],
      ...span
    })
    const said = ({ endedAt, severity, startedAt, value }: Alarm) => ({ startedAt, endedAt, severity, value })
    assert.deepStrictEqual(alarms.map(said), (await alarmsOf(typesRuleId)).map(said))
  }, 60_000)

  it("is the same rebuilt, and a rebuild can be called off", async () => {
    await alarmOf("the alarm being settled", typesRuleId, ({ settled }) => settled)
    await eventually("the warehouse hearing of it", 30, async () =>
      (await temperatures(warehouseId)).length >= (await temperatures(roomId)).length ? true : undefined
    )
    const before = {
      alarms: await alarmsOf(typesRuleId),
      room: await temperatures(roomId),
      warehouse: await temperatures(warehouseId),
      health: await health()
    }
    assert.isAtLeast(before.room.length, 13)
    assert.isAtLeast(before.warehouse.length, 13)
    const scope = { kind: "entities", ids: [roomId] }
    const rebuild = (path: string, of: object) =>
      platform.api<{ jobId: string }>("POST", `${path}/rebuild`, { scope, ...span, ...of })
    assert.strictEqual(await completed((await rebuild("/assets", {})).jobId), "completed")
    assert.strictEqual(await completed((await rebuild("/rules", { entityType: "asset" })).jobId), "completed")
    assert.deepStrictEqual(
      {
        alarms: await alarmsOf(typesRuleId),
        room: await temperatures(roomId),
        warehouse: await temperatures(warehouseId),
        health: await health()
      },
      before
    )

    const { jobId } = await rebuild("/assets", { scope: { kind: "all" } })
    await platform.api("DELETE", `/jobs/${jobId}`).catch(() => undefined) // it may have completed before
    assert.include(["cancelled", "completed"], await completed(jobId))
    assert.deepStrictEqual(await temperatures(roomId), before.room)
  }, 120_000)
})
