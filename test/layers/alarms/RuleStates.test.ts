import type { TenantId } from "@argusiq/domain/ids.ts"
import { RecentInputs } from "@argusiq/domain/recent-inputs.ts"
import type { RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import { loadRuleStates, saveRuleStates } from "@argusiq/layers/alarms/RuleStates.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { insertOrganization } from "../profiles/registry.ts"

const inputs = Array.from({ length: 40 }, (_, index): RuleInput => {
  const ts = 1_767_225_600_000_001 + index * 400_123
  return { ts, readingId: randomUUID(), receivedAt: ts + 7, metrics: { temperature: 20 + index / 8 } }
})

layer(testDatabase, { excludeTestServices: true })("the states of rules", (it) => {
  it.effect("are loaded as they were saved, and as they were before inputs were packed", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const tenantId = (yield* insertOrganization()) as TenantId
      const entityId = randomUUID()
      const { receivedAt, ts } = inputs.at(-1)!
      const last = { ts, receivedAt }
      const state = { entityId, tenantId, base: {}, baseTime: inputs[0]!.ts - 1, last, revision: 0 }
      const saved = { ...state, recent: RecentInputs.of(inputs), dueAt: undefined }
      assert.deepStrictEqual(yield* saveRuleStates(sql, "device_rule", 3, [saved]), [])
      const load = Effect.map(loadRuleStates(sql, "device_rule", [entityId]), (rows) =>
        rows.map(({ recent, ...rest }) => ({ ...rest, recent: [...recent] }))
      )
      assert.deepStrictEqual(yield* load, [{ ...state, recent: inputs }])
      const before = Buffer.from(JSON.stringify({ inputs, last }))
      yield* sql`update fold_states set recent = ${before} where entity_id = ${entityId}`
      assert.deepStrictEqual(yield* load, [{ ...state, recent: inputs }])
    })
  )
})
