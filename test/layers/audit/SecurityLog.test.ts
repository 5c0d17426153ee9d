import { Coalescing, make } from "@argusiq/layers/audit/SecurityLog.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { insertEndpoint } from "../profiles/registry.ts"

const from = (address: string) => ({ kind: "system", address }) as const
const refused = (entityId: string) => ({ action: "sign_in_refused", entityType: "account", entityId })
const minute = 60_000

describe("security events that repeat themselves", () => {
  it("are written when they begin and counted once a minute after that, by account and address", () => {
    const events = new Coalescing()
    for (let second = 0; second < 59; second++) events.add(refused("a"), from("192.0.2.1"), second * 1_000)
    events.add(refused("a"), from("192.0.2.2"), 500)
    assert.deepStrictEqual(
      events.take(59_000).map(({ address, count }) => [address, count]),
      [
        ["192.0.2.1", 1],
        ["192.0.2.2", 1]
      ]
    )
    assert.deepStrictEqual(
      events.take(minute + 1_000).map(({ address, count }) => [address, count]),
      [["192.0.2.1", 58]]
    )
    assert.deepStrictEqual(events.take(10 * minute), [])
    events.add(refused("a"), from("192.0.2.1"), 11 * minute)
    assert.strictEqual(events.take(11 * minute).length, 1)
  })

  it("of ever other accounts and addresses leave at most 201 entries a minute, and none uncounted", () => {
    const events = new Coalescing()
    const guesses = 100_000
    let entries = 0
    let counted = 0
    const take = (at: number) => {
      for (const { count } of events.take(at)) {
        entries++
        counted += count
      }
    }
    for (let guess = 0; guess < guesses; guess++) {
      const at = Math.floor((guess * 10 * minute) / guesses)
      events.add(refused(`account ${guess}`), from(`address ${guess}`), at)
      if (guess % 100 === 0) take(at)
    }
    take(Infinity)
    assert.strictEqual(counted, guesses)
    assert.isAtMost(entries, 11 * 201)
  })

  it("of one kind do not hide those of another", () => {
    const events = new Coalescing()
    for (let guess = 0; guess < 1_000; guess++) events.add(refused(String(guess)), from("a"), 0)
    events.add({ action: "refresh_token_reused", entityType: "user", entityId: "u" }, from("b"), 1)
    assert.strictEqual(events.take(1).filter(({ action }) => action === "refresh_token_reused").length, 1)
  })
})

layer(testDatabase, { excludeTestServices: true })("the security log", (it) => {
  it.effect("finds whose device was refused, writes at its end what waits, and takes what no database would", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const device = yield* insertEndpoint()
      const nobody = randomUUID()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const log = yield* make(sql)
          for (const entityId of [device.deviceId, device.deviceId, nobody, "no\0uuid\ud800"]) {
            log.add({ action: "device_sign_in_refused", entityType: "device", entityId }, from("192.0.2.7"))
          }
        })
      )
      const rows = yield* (yield* OwnerSql)`select tenant_id, entity_id, address, count from audit_log
        where action = 'device_sign_in_refused' order by occurred_at, entity_id`
      const row = { address: "192.0.2.7", count: 1 }
      assert.sameDeepMembers(
        [...rows],
        [
          { ...row, tenant_id: device.tenantId, entity_id: device.deviceId },
          { ...row, tenant_id: device.tenantId, entity_id: device.deviceId },
          { ...row, tenant_id: null, entity_id: nobody },
          { ...row, tenant_id: null, entity_id: "no\ufffduuid\ufffd" }
        ]
      )
    })
  )
})
