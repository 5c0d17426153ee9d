/**
 * What the rules cost: five active rules on each of 2,000 assets at 5,000 readings of ten metrics a second, folded as the rule
 * engine folds them, in batches of 500. Prints processor time for each reading and rule, garbage collection included, and the
 * memory that the folds hold.
 *
 *   node --expose-gc bench/rules.ts [--assets 2000] [--seconds 60] [--disorder 0.05]
 *
 * `--disorder`: the share of readings that come up to ten seconds late.
 * @module
 */
import { RuleConfig, type RuleVersion } from "@argusiq/domain/rule/rule.ts"
import { ruleCompiler } from "@argusiq/domain/rule/compile-rule.ts"
import type { AssetId, ReadingId, TenantId } from "@argusiq/domain/ids.ts"
import { sharedOf, Unit } from "@argusiq/event-engine/rules/Unit.ts"
import type { AssetTelemetry } from "@argusiq/domain/asset/asset-reading.ts"
import { Result, Schema } from "effect"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { randomUUID } from "node:crypto"
import { parseArgs } from "node:util"

const { values: options } = parseArgs({
  options: {
    assets: { type: "string", default: "2000" },
    seconds: { type: "string", default: "60" },
    disorder: { type: "string", default: "0.05" }
  }
})
const SECOND = 1_000_000
const PER_SECOND = 5_000
const BATCH = 500
const names = ["temperature", "humidity", "pressure", "voltage", "current", "power", "rpm", "flow", "co2", "battery"]
const tenantId = randomUUID()
const decode = Schema.decodeUnknownSync(RuleConfig)
const rules = [
  { metricKey: "temperature", condition: { operator: ">", value: 98 }, hysteresis: 2 },
  { metricKey: "humidity", condition: { operator: "above", warning: 95, critical: 99, durationSeconds: 5 } },
  { metricKey: "pressure", condition: { operator: "outside", value: [1, 99], durationSeconds: 1 } },
  { metricKey: "voltage", condition: { operator: "rising", perSecond: 5, overSeconds: 20 } },
  { condition: { operator: "expression", expression: "power > 95 and current > 95" } }
].map(
  (rule, index): RuleVersion =>
    ({
      id: randomUUID(),
      version: 1,
      effectiveAt: 0,
      tenantId,
      config: decode({ name: `rule ${index}`, entityType: "asset", scope: { kind: "all" }, severity: "high", ...rule })
    }) as object as RuleVersion
)
const shared = sharedOf({
  compile: ruleCompiler({
    parse: (source) => Result.getOrUndefined(parseExpression(source)),
    evaluate: (expression, input) => expression.run?.(input) ?? Result.succeed(undefined)
  }),
  gaps: () => []
})
const units = Array.from({ length: Number(options.assets) }, () => {
  const unit = new Unit({ tenantId: tenantId as never, entityType: "asset", entityId: randomUUID() }, shared, undefined)
  unit.learn(rules)
  return unit
})
const disorder = Number(options.disorder)
let sequence = 0
let events = 0
const START = 1_780_000_000 * SECOND
const readingOf = (): readonly [Unit, AssetTelemetry] => {
  const number = sequence++
  const unit = units[number % units.length]!
  const receivedAt = START + Math.round((number * SECOND) / PER_SECOND)
  const ts = Math.random() < disorder ? receivedAt - Math.round(Math.random() * 10 * SECOND) : receivedAt
  const metrics = Object.fromEntries(names.map((name) => [name, Math.random() * 100]))
  const reading = {
    readingId: randomUUID() as ReadingId,
    assetId: unit.entity.entityId as AssetId,
    tenantId: tenantId as TenantId,
    assetTypeVersion: 1,
    revision: 0,
    retracted: false,
    ts,
    receivedAt,
    metrics,
    sourceDevices: []
  }
  return [unit, reading]
}
const run = (seconds: number): number => {
  let micros = 0
  for (let batch = 0; batch < (seconds * PER_SECOND) / BATCH; batch++) {
    const readings = Array.from({ length: BATCH }, readingOf)
    const start = process.cpuUsage()
    const inputs = new Map<Unit, Array<NonNullable<ReturnType<Unit["inputOf"]>>>>()
    for (const [unit, reading] of readings) {
      const input = unit.inputOf(reading, reading.receivedAt)
      if (input === undefined) continue
      const known = inputs.get(unit)
      if (known === undefined) inputs.set(unit, [input])
      else known.push(input)
    }
    for (const [unit, ofUnit] of inputs) {
      const { dueAt, events: told, last, live, spent, state } = unit.step(ofUnit, undefined, Infinity)
      unit.standing = { state, last, live, spent, dueAt }
      events += told.length
    }
    const { system, user } = process.cpuUsage(start)
    micros += system + user
  }
  return micros
}
const heap = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1e6
}
const before = heap()
const seconds = Number(options.seconds)
run(40)
events = 0
const micros = run(seconds)
const readings = seconds * PER_SECOND
console.table([
  {
    assets: units.length,
    "rules each": rules.length,
    readings,
    "late share": disorder,
    "µs per reading": Number((micros / readings).toFixed(2)),
    "µs per reading and rule": Number((micros / readings / rules.length).toFixed(2)),
    "cores at 5,000/s": Number(((micros / readings) * PER_SECOND * 1e-6).toFixed(3)),
    "events/s": Number((events / seconds).toFixed(1)),
    "MB of folds": Number((heap() - before).toFixed(1))
  }
])
