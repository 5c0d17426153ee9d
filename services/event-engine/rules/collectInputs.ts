/**
 * From records to what the units that they concern have to judge.
 * @module
 */
import { onlyDeviceOf, onlyDevicesOf } from "@argusiq/domain/envelope.ts"
import type { TenantId } from "@argusiq/domain/ids.ts"
import type { RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import { loadSaidAlarms } from "@argusiq/layers/alarms/AlarmRows.ts"
import { loadRuleStates, type StoredRuleState } from "@argusiq/layers/alarms/RuleStates.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { RuleSets } from "@argusiq/layers/profiles/RuleSets.ts"
import { Effect, Result } from "effect"
import type { Kind } from "./kinds.ts"
import type { OwnedUnits } from "./OwnedUnits.ts"
import { type Brought, entityIdOf, isTimely } from "./readReadings.ts"
import { Unit } from "./Unit.ts"
import type { UnitJudge } from "./unitJudge.ts"

export const makeCollect = Effect.fnUntraced(function* (kind: Kind, judge: UnitJudge) {
  const sql = yield* PipelineSql
  const ruleSets = yield* RuleSets
  const { entityType } = kind

  const addUnits = Effect.fnUntraced(function* (
    owned: OwnedUnits,
    entities: ReadonlyMap<string, string>,
    stored: ReadonlyArray<StoredRuleState>
  ) {
    const states = new Map(stored.map((state) => [state.entityId, state]))
    const units = [...entities].map(([entityId, tenantId]) => {
      const entity = { entityType, entityId, tenantId: tenantId as TenantId }
      return new Unit(entity, judge.shared, states.get(entityId))
    })
    yield* judge.learnRules(units)
    const since = units.map(({ entity, standing }) => ({ entityId: entity.entityId, since: standing.state.baseTime }))
    const said = yield* loadSaidAlarms(sql, since)
    for (const unit of units) unit.standing = { ...unit.standing, ...said.get(unit.entity.entityId) }
    yield* judge.run(() => units.forEach((unit) => unit.restore()))
    for (const unit of units) owned.units.set(unit.entity.entityId, unit)
  })

  /** Those that are not in memory and that rules concern. */
  const ensure = Effect.fnUntraced(function* (owned: OwnedUnits, tenants: ReadonlyMap<string, string>) {
    const known: Array<Unit> = []
    const missing: Array<string> = []
    for (const entityId of tenants.keys()) {
      const unit = owned.units.get(entityId)
      if (unit === undefined) missing.push(entityId)
      else known.push(unit)
    }
    yield* judge.learnRules(known)
    if (missing.length === 0) return
    const rules = yield* ruleSets.rulesOf(entityType, missing)
    const concerned = missing.filter((entityId) => (rules.get(entityId)?.length ?? 0) > 0)
    if (concerned.length === 0) return
    const stored = yield* loadRuleStates(sql, kind.states, concerned)
    yield* addUnits(owned, new Map(concerned.map((entityId) => [entityId, tenants.get(entityId)!])), stored)
  })

  /** Without those of devices that no rule is about: they need not be parsed. */
  const ofInterest = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>) {
    if (entityType !== "device") return records
    const senders = onlyDevicesOf(records)
    if (senders.size === 0) return records
    const rules = yield* ruleSets.rulesOf(entityType, senders)
    return records.filter(({ headers }) => {
      const sender = onlyDeviceOf(headers)
      return sender === undefined || (rules.get(sender)?.length ?? 0) > 0
    })
  })

  /** The readings of some records by entity; the units that they concern are in memory afterwards. */
  const collect = Effect.fnUntraced(function* (owned: OwnedUnits, records: ReadonlyArray<StoredRecord>) {
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    const brought: Array<Brought> = []
    const tenants = new Map<string, string>()
    const pause = makePauses()
    for (const record of yield* ofInterest(records)) {
      const read = kind.read(record)
      if (Result.isFailure(read)) {
        deadLetters.push({ record, error: read.failure })
        continue
      }
      const { readings, tenantId } = read.success
      brought.push(read.success)
      for (const reading of readings) if (isTimely(read.success, reading)) tenants.set(entityIdOf(reading), tenantId)
      yield* pause(1 + readings.length)
    }
    yield* ensure(owned, tenants)
    const inputs = new Map<Unit, Array<RuleInput>>()
    for (const message of brought) {
      for (const reading of message.readings) {
        const unit = isTimely(message, reading) ? owned.units.get(entityIdOf(reading)) : undefined
        if (unit === undefined || unit.entity.tenantId !== message.tenantId) continue
        const input = unit.inputOf(reading, message.receivedAt)
        if (input === undefined) continue
        const ofUnit = inputs.get(unit)
        if (ofUnit === undefined) inputs.set(unit, [input])
        else ofUnit.push(input)
      }
    }
    return { deadLetters, inputs }
  })

  return { addUnits, collect }
})
export type Collecting = Effect.Success<ReturnType<typeof makeCollect>>
