import { assert, layer } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { Api, apiServer, type Call } from "./apiServer.ts"

const pathsOf = (answer: { body: { errors: ReadonlyArray<{ path: string }> } }) =>
  answer.body.errors.map(({ path }) => path)

layer(apiServer, { excludeTestServices: true })("rules", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) =>
      api.call(method, `/api/v1${path}`, { token, ...options })
    return { api, call }
  })
  const rule = { name: "R", entityType: "device", metricKey: "temperature" }

  it.effect("are written as thresholds or as a condition, and shown in both words", () =>
    Effect.gen(function* () {
      const { api, call } = yield* session
      const { deviceId } = api.firstDevice
      const made = yield* call("POST", "/threshold-rules", {
        body: {
          ...rule,
          entityId: deviceId,
          warningThreshold: 30,
          criticalThreshold: 40,
          hysteresis: 1,
          schedule: { days: [1, 2, 3], from: "08:00", to: "17:00", timeZone: "Europe/Berlin" },
          action: { type: "notify", channel: "in_app", to: "technician" }
        }
      })
      assert.strictEqual(made.status, 201, made.text)
      assert.deepInclude(made.body, {
        entityId: deviceId,
        entityIds: [deviceId],
        assetTypeId: null,
        condition: { operator: "above", warning: 30, critical: 40, durationSeconds: 0 },
        warningThreshold: 30,
        criticalThreshold: 40,
        hysteresis: 1,
        cooldownSeconds: 300,
        severity: "warning",
        isActive: true,
        ruleVersion: 1
      })
      assert.strictEqual(made.body.actions.length, 1)
      assert.approximately(Date.parse(made.body.effectiveAt) - Date.now(), 2_000, 1_000)
      assert.deepStrictEqual((yield* call("GET", `/rules/${made.body.id}`)).body, made.body)
      const forms: ReadonlyArray<readonly [object, object]> = [
        [
          { warningThreshold: 5, criticalThreshold: 2 },
          { operator: "below", warning: 5, critical: 2, durationSeconds: 0 }
        ],
        [{ criticalThreshold: 5 }, { operator: ">", value: 5, durationSeconds: 0 }],
        [{ condition: { expression: "a > b" } }, { operator: "expression", expression: "a > b", durationSeconds: 0 }],
        [{ condition: { noDataSeconds: 60 } }, { operator: "noData", noDataSeconds: 60 }],
        [
          { condition: { operator: "between", value: [1, 2], durationSeconds: 30 } },
          { operator: "between", value: [1, 2], durationSeconds: 30 }
        ]
      ]
      for (const [breach, condition] of forms) {
        const { body, text } = yield* call("POST", "/rules", { body: { ...rule, entityId: null, ...breach } })
        assert.deepStrictEqual(body.condition, condition, text)
        assert.isNull(body.entityIds)
      }
    })
  )

  it.effect("a change is a version of its own, in force two seconds later; an end is one too", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: made } = yield* call("POST", "/rules", {
        body: { ...rule, warningThreshold: 1, criticalThreshold: 2 }
      })
      const headers = { "if-match": `"${made.version}"` }
      const changed = yield* call("PATCH", `/rules/${made.id}`, {
        body: { condition: { operator: "<", value: 0 }, severity: "high", name: "Renamed" },
        headers
      })
      assert.strictEqual(changed.status, 200, changed.text)
      assert.deepInclude(changed.body, { name: "Renamed", ruleVersion: 2, severity: "high", warningThreshold: null })
      assert.strictEqual((yield* call("PATCH", `/rules/${made.id}`, { body: {}, headers })).status, 412)
      const { body: history } = yield* call("GET", `/rules/${made.id}/versions`)
      assert.deepStrictEqual(
        history.items.map(({ number }: never) => number),
        [2, 1]
      )
      assert.isAbove(Date.parse(history.items[0].effectiveAt), Date.parse(history.items[1].effectiveAt))
      assert.strictEqual((yield* call("DELETE", `/rules/${made.id}`)).status, 204)
      assert.strictEqual((yield* call("GET", `/rules/${made.id}`)).status, 404)
      const sql = yield* OwnerSql
      const versions = yield* sql`select number, config -> 'isActive' as active from threshold_rule_versions
        where rule_id = ${made.id}::uuid order by number`
      assert.deepStrictEqual(versions, [
        { number: 1, active: true },
        { number: 2, active: true },
        { number: 3, active: false }
      ])
    })
  )

  it.effect("what would not work is refused with its path", () =>
    Effect.gen(function* () {
      const { api, call } = yield* session
      const breach = { warningThreshold: 1, criticalThreshold: 2 }
      const somebody = "01890a5d-ac96-774b-bcce-b302099a8057"
      const schedule = { days: [1], from: "08:00", to: "17:00", timeZone: "Mars/Olympus" }
      const refused: ReadonlyArray<readonly [body: object, path: string]> = [
        [{ ...rule }, "condition"],
        [{ ...rule, ...breach, condition: { operator: ">", value: 1 } }, "condition"],
        [{ ...rule, ...breach, metricKey: null }, "metricKey"],
        [{ ...rule, ...breach, schedule }, "schedule.timeZone"],
        [{ ...rule, ...breach, entityId: somebody }, "entityId"],
        [{ ...rule, ...breach, entityIds: [api.firstDevice.deviceId, somebody] }, "entityIds[1]"],
        [{ ...rule, ...breach, assetTypeId: somebody }, "assetTypeId"],
        [{ ...rule, ...breach, deviceTypeId: somebody }, "deviceTypeId"],
        [{ ...rule, ...breach, groupId: somebody }, "groupId"],
        [{ ...rule, ...breach, entityId: somebody, deviceTypeId: somebody }, "deviceTypeId"],
        [{ ...rule, condition: { operator: "between", value: [2, 1] } }, "condition.value"],
        [{ ...rule, warningThreshold: 2, criticalThreshold: 1, direction: "above" }, "criticalThreshold"],
        [{ ...rule, condition: { expression: "1 +" } }, "condition.expression"],
        [{ ...rule, ...breach, action: { type: "webhook", url: "ftp://x" } }, "actions[0].url"]
      ]
      for (const [body, path] of refused) {
        const answer = yield* call("POST", "/rules", { body })
        assert.strictEqual(answer.status, 422, `${path}: ${answer.text}`)
        assert.include(pathsOf(answer), path, answer.text)
      }
    })
  )

  it.effect("are found by what they are about", () =>
    Effect.gen(function* () {
      const { api, call } = yield* session
      const { deviceId } = api.firstDevice
      const { body: device } = yield* call("GET", `/devices/${deviceId}`)
      const breach = { warningThreshold: 1, criticalThreshold: 2 }
      const make = (body: object) =>
        Effect.map(call("POST", "/rules", { body: { ...rule, ...breach, ...body } }), ({ body }) => body.id)
      const named = yield* make({ name: "found: named", entityIds: [deviceId] })
      const ofType = yield* make({ name: "found: of the type", deviceTypeId: device.deviceTypeId, isActive: false })
      const ids = (query: string) =>
        Effect.map(call("GET", `/rules?q=found:&${query}`), ({ body }) =>
          body.items.map((item: { id: string }) => item.id)
        )
      assert.deepStrictEqual(yield* ids(`entityId=${deviceId}`), [named])
      assert.deepStrictEqual(yield* ids(`deviceTypeId=${device.deviceTypeId}`), [ofType])
      assert.deepStrictEqual(yield* ids("isActive=true"), [named])
      assert.deepStrictEqual(yield* ids("entityType=asset"), [])
      const first = yield* call("GET", "/rules?q=found:&limit=1")
      const second = yield* call("GET", `/rules?q=found:&limit=1&cursor=${first.body.nextCursor}`)
      assert.deepStrictEqual([first.body.items[0].id, second.body.items[0].id], [named, ofType])
      assert.isNull(second.body.nextCursor)
    })
  )
})
