import { expiryEvent } from "@argusiq/domain/certificate-expiry.ts"
import { eraseDownloads, tellExpiringAt } from "@argusiq/jobs/certificateCare.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"

const DAY = 86_400_000
const noon = Date.parse("2026-03-01T12:00:00Z")

const addCertificate = Effect.fnUntraced(function* (validUntil: number, more: Readonly<Record<string, unknown>> = {}) {
  const sql = yield* OwnerSql
  const [tenantId, typeId, deviceId, id] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}, 'o', ${tenantId})`
  yield* sql`insert into device_types (id, tenant_id, name) values (${typeId}, ${tenantId}, 't')`
  yield* sql`insert into devices (id, tenant_id, name, device_type_id) values (${deviceId}, ${tenantId}, 'Pump 7', ${typeId})`
  yield* sql`insert into device_certificates ${sql.insert({
    id,
    tenant_id: tenantId,
    device_id: deviceId,
    serial_number: id,
    fingerprint: id,
    public_key_digest: id,
    certificate: "",
    valid_from: new Date(noon - DAY),
    valid_until: new Date(validUntil),
    accepted_until: new Date(validUntil),
    ...more
  })}`
  return { id, tenantId, deviceId }
})

const eventsOf = Effect.fnUntraced(function* (deviceId: string) {
  const sql = yield* OwnerSql
  return yield* sql<{ severity: string; payload: Record<string, unknown> }>`
    select severity, payload from system_events where entity_id = ${deviceId} and event_type = 'CERTIFICATE_EXPIRING'
    order by occurred_at`
})

layer(testDatabase, { excludeTestServices: true })("the ends of certificates", (it) => {
  it.effect("are told by one event a day from the thirtieth day on, and people are told at five steps", () =>
    Effect.gen(function* () {
      const end = noon + 32 * DAY
      const { deviceId } = yield* addCertificate(end)
      for (let now = noon; now < end + DAY; now += DAY / 4) yield* tellExpiringAt(now)
      const events = yield* eventsOf(deviceId)
      const told = events.map(({ payload, severity }) => [payload["daysLeft"], severity, "actions" in payload] as const)
      // The day on which the thirtieth begins and the day of the end are both begun ones.
      assert.strictEqual(events.length, 31)
      assert.deepStrictEqual(
        told.filter(([, , actions]) => actions).map(([days]) => days),
        [30, 14, 7, 3, 1]
      )
      assert.isTrue(told.every(([days, severity]) => severity === (Number(days) <= 7 ? "high" : "warning")))
      assert.match(String(events[0]!.payload["message"]), /The certificate of Pump 7 ends in 30 days, at 2026-04-02/)
      assert.deepStrictEqual(events[0]!.payload["actions"], [
        { type: "notify", channel: "in_app", to: "admin" },
        { type: "notify", channel: "email", to: "admin" }
      ])
    })
  )

  it.effect("are not told of what is revoked, renewed, over, or far away", () =>
    Effect.gen(function* () {
      const soon = noon + 5 * DAY
      const quiet = [
        yield* addCertificate(soon, { revoked_at: new Date(noon) }),
        yield* addCertificate(soon, { renewed_at: new Date(noon), replaced_by: randomUUID() }),
        yield* addCertificate(noon - 1),
        yield* addCertificate(noon + 31 * DAY)
      ]
      yield* tellExpiringAt(noon)
      for (const { deviceId } of quiet) assert.deepStrictEqual(yield* eventsOf(deviceId), [])
    })
  )

  it.effect("that were missed for days are told by the present step alone", () =>
    Effect.gen(function* () {
      const certificate = { id: randomUUID(), deviceId: randomUUID(), deviceName: "P", serialNumber: "1" }
      const at = (days: number, toldAt: number | undefined) =>
        expiryEvent({ ...certificate, validUntil: noon + days * DAY, toldAt }, noon).tells
      assert.deepStrictEqual(
        [at(30, undefined), at(29, 30), at(5, 30), at(5, 7), at(2, undefined), at(1, 3), at(1, 1)],
        [30, undefined, 7, undefined, 3, 1, undefined]
      )
    })
  )

  it.effect("downloads are erased when their time is over, and their rows a day later", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const ages = { fresh: "now() + interval '1 minute'", over: "now()", old: "now() - interval '25 hours'" }
      const ids: Record<string, string> = {}
      for (const [name, expires] of Object.entries(ages)) {
        const { deviceId, id, tenantId } = yield* addCertificate(noon + 400 * DAY)
        ids[name] = id
        yield* sql`insert into certificate_bundles (certificate_id, tenant_id, device_id, token_hash, sealed, expires_at)
          values (${id}, ${tenantId}, ${deviceId}, ${id}, ${Buffer.from("sealed")}, ${sql.literal(expires)})`
      }
      yield* eraseDownloads
      const rows = yield* sql<{ id: string; erased: boolean }>`
        select certificate_id as id, sealed is null as erased from certificate_bundles`
      const erased = new Map(rows.map(({ erased, id }) => [id, erased]))
      assert.deepStrictEqual(
        ["fresh", "over", "old"].map((name) => erased.get(ids[name]!)),
        [false, true, undefined]
      )
    })
  )
})
