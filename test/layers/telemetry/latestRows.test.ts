import { AppSql } from "@argusiq/layers/database/Sql.ts"
import { makeLatestRows } from "@argusiq/layers/telemetry/latestRows.ts"
import type { TenantId } from "@argusiq/domain/ids.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { insertDevice, insertDeviceType, insertOrganization } from "../profiles/registry.ts"

layer(testDatabase, { excludeTestServices: true })("latest rows of devices", (it) => {
  it.effect("are each organization's own, however many ask at once, and for the same device too", () =>
    Effect.gen(function* () {
      const latestRow = makeLatestRows(yield* AppSql)
      const makeTenant = Effect.gen(function* () {
        const tenantId = (yield* insertOrganization()) as TenantId
        const deviceTypeId = yield* insertDeviceType(tenantId)
        const devices = yield* Effect.forEach(Array.from({ length: 20 }), () =>
          insertDevice({ tenantId, deviceTypeId })
        )
        return { tenantId, deviceTypeId, devices }
      })
      const [one, other] = [yield* makeTenant, yield* makeTenant]
      const unknown = randomUUID()
      const asked = [one, other].flatMap(({ deviceTypeId, tenantId }) =>
        [one, other].flatMap(({ devices, tenantId: owner }) =>
          [...devices, devices[0]!, unknown].map((deviceId) => ({
            tenantId,
            deviceId,
            expected: owner === tenantId && deviceId !== unknown ? deviceTypeId : undefined
          }))
        )
      )
      const rows = yield* Effect.forEach(asked, ({ deviceId, tenantId }) => latestRow(tenantId, deviceId), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        rows.map((row) => row?.device_type_id),
        asked.map(({ expected }) => expected)
      )
      assert.deepStrictEqual(
        rows.flatMap((row, index) => (row !== undefined && row.id !== asked[index]!.deviceId ? [row.id] : [])),
        []
      )
    })
  )
})
