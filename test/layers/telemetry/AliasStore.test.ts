import { type AliasTable } from "@argusiq/domain/protocol/decoder.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { insertOrganization } from "../profiles/registry.ts"

const named = (...names: ReadonlyArray<string>): AliasTable =>
  Object.fromEntries(names.map((name, alias) => [String(alias), { name, datatype: 9 }]))

interface Sent {
  readonly at: number
  /** What the message leaves; absent: it is no birth. */
  readonly birth?: AliasTable
  readonly headers?: Readonly<Record<string, string>>
}

/** Decodes messages of one device as one batch; the names of each one's time. */
const batch = Effect.fnUntraced(function* (
  device: { readonly tenantId: string; readonly deviceId: string },
  sent: ReadonlyArray<Sent>,
  save = true
) {
  const records = sent.map(({ at, birth, headers }) => ({
    birth,
    headers: { "device-id": device.deviceId, "tenant-id": device.tenantId, "received-at": String(at), ...headers }
  }))
  const aliases = yield* (yield* AliasStore).open(records)
  const seen = records.map((record) =>
    Result.getOrThrow(
      aliases.through(record, (table) =>
        Result.succeed({
          aliases: record.birth ?? table,
          names: Object.values(table)
            .map(({ name }) => name)
            .join(" ")
        })
      )
    )
  )
  if (save) yield* aliases.save
  return seen.map(({ names }) => names)
})

const newDevice = Effect.map(insertOrganization(), (tenantId) => ({ tenantId, deviceId: randomUUID() }))
const stored = (deviceId: string) =>
  Effect.gen(function* () {
    const sql = yield* PipelineSql
    const rows = yield* sql<{ at: number }>`select (extract(epoch from received_at) * 1000000)::float8 as at
      from device_aliases where device_id = ${deviceId}::uuid order by 1`
    return rows.map(({ at }) => at)
  })

const start = 1_763_725_301_123_457

layer(AliasStore.layer.pipe(Layer.provideMerge(testDatabase)), { excludeTestServices: true })("aliases", (it) => {
  it.effect("go from message to message, and from batch to batch", () =>
    Effect.gen(function* () {
      const device = yield* newDevice
      const other = yield* newDevice
      const first = [{ at: start }, { at: start + 1, birth: named("a") }, { at: start + 2 }]
      assert.deepStrictEqual(yield* batch(device, first), ["", "", "a"])
      assert.deepStrictEqual(yield* batch(other, [{ at: start + 3 }]), [""])
      const second = [{ at: start + 3, birth: named("b", "c") }, { at: start + 4 }]
      assert.deepStrictEqual(yield* batch(device, second), ["a", "b c"])
      assert.deepStrictEqual(yield* batch(device, [{ at: start + 5 }]), ["b c"])
    })
  )

  it.effect("are those of a message's own time when its batch is handled again, in whatever portions", () =>
    Effect.gen(function* () {
      const device = yield* newDevice
      yield* batch(device, [{ at: start, birth: named("old") }])
      const sent = [
        { at: start + 1 },
        { at: start + 2, birth: named("x") },
        { at: start + 3 },
        { at: start + 4, birth: named("y") },
        { at: start + 5 }
      ]
      const once = yield* batch(device, sent)
      assert.deepStrictEqual(once, ["old", "old", "x", "x", "y"])
      const rows = yield* stored(device.deviceId)
      assert.deepStrictEqual(yield* batch(device, sent), once)
      assert.deepStrictEqual(yield* stored(device.deviceId), rows)
      const portions = [yield* batch(device, sent.slice(0, 2)), yield* batch(device, sent.slice(2))]
      assert.deepStrictEqual(portions.flat(), once)
    })
  )

  it.effect("are not stored when nothing was learned, or what is known already, or nobody asks for it", () =>
    Effect.gen(function* () {
      const device = yield* newDevice
      yield* batch(device, [{ at: start, birth: named("a") }])
      yield* batch(device, [{ at: start + 1 }, { at: start + 2, birth: named("a") }])
      assert.deepStrictEqual(yield* stored(device.deviceId), [start])
      yield* batch(device, [{ at: start + 3, birth: named("b") }], false)
      assert.deepStrictEqual(yield* batch(device, [{ at: start + 4 }]), ["a"])
      yield* batch(device, [
        { at: start + 5, birth: named("b") },
        { at: start + 6, birth: named("a") }
      ])
      assert.deepStrictEqual(yield* batch(device, [{ at: start + 7 }]), ["a"])
    })
  )

  it.effect("of a replay are those of then, and leave those of today alone", () =>
    Effect.gen(function* () {
      const device = yield* newDevice
      const replayed = { headers: { "replay-job": randomUUID() } }
      yield* batch(device, [{ at: start, birth: named("then") }])
      yield* batch(device, [{ at: start + 100, birth: named("now") }])
      const mixed = [
        { at: start + 200 },
        { at: start + 10, ...replayed },
        { at: start + 20, birth: named("between"), ...replayed },
        { at: start + 30, ...replayed },
        { at: start + 201 }
      ]
      assert.deepStrictEqual(yield* batch(device, mixed), ["now", "then", "then", "between", "now"])
      assert.deepStrictEqual(yield* batch(device, [{ at: start + 40, ...replayed }, { at: start + 300 }]), [
        "between",
        "now"
      ])
    })
  )

  it.effect("of a retry may be those of the birth that it came too early for", () =>
    Effect.gen(function* () {
      const device = yield* newDevice
      const early = { at: start }
      assert.deepStrictEqual(yield* batch(device, [early]), [""])
      yield* batch(device, [{ at: start + 1, birth: named("a") }])
      yield* batch(device, [{ at: start + 2, birth: named("b") }])
      assert.deepStrictEqual(yield* batch(device, [early]), [""])
      const retried = { ...early, headers: { "retry-group": "argusiq.normalizer" } }
      assert.deepStrictEqual(yield* batch(device, [retried]), ["a"])
    })
  )

  it.effect("of a failed message change nothing, and names may hold any character", () =>
    Effect.gen(function* () {
      const device = yield* newDevice
      const record = {
        headers: { "device-id": device.deviceId, "tenant-id": device.tenantId, "received-at": String(start) }
      }
      const aliases = yield* (yield* AliasStore).open([record])
      assert.isTrue(Result.isFailure(aliases.through(record, () => Result.fail("no"))))
      yield* aliases.save
      assert.deepStrictEqual(yield* stored(device.deviceId), [])
      yield* batch(device, [{ at: start, birth: named("nul\u0000", "ü😀") }])
      assert.deepStrictEqual(yield* batch(device, [{ at: start + 1 }]), ["nul\u0000 ü😀"])
    })
  )

  it.effect("are kept a hundred deep for each device", () =>
    Effect.gen(function* () {
      const device = yield* newDevice
      for (let n = 0; n < 105; n++) yield* batch(device, [{ at: start + n, birth: named(`birth ${n}`) }])
      const rows = yield* stored(device.deviceId)
      assert.deepStrictEqual([rows.length, rows[0]], [100, start + 5])
      assert.deepStrictEqual(yield* batch(device, [{ at: start + 200 }]), ["birth 104"])
    })
  )
})
