import { ruleCompiler } from "@argusiq/domain/rule/compile-rule.ts"
import { entityRules } from "@argusiq/domain/rule/entity-rules.ts"
import { RuleConfig, type RuleVersion } from "@argusiq/domain/rule/rule.ts"
import type { RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import { microsFromIso } from "@argusiq/domain/http/scalars.ts"
import { foldAll } from "@argusiq/domain/fold-state.ts"
import { Backtests } from "@argusiq/layers/alarms/Backtests.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Result, Schema } from "effect"
import { randomInt, randomUUID } from "node:crypto"
import {
  alarmsOf,
  eventsOf,
  log,
  makeRuleEngine,
  recordOf,
  register,
  type Registry,
  saveRule,
  SECOND,
  world
} from "./RuleWorld.ts"
import { randomFrom } from "../../support/random.ts"

const START = 1_780_000_000 * SECOND
const HOURS = 3
const DEVICES = 20

const rules: ReadonlyArray<object> = [
  { condition: { operator: ">", value: 80 }, hysteresis: 3, cooldownSeconds: 120 },
  { condition: { operator: "above", warning: 70, critical: 90, durationSeconds: 60 }, cooldownSeconds: 0 },
  { condition: { operator: "rising", perSecond: 0.4, overSeconds: 60 }, hysteresis: 0.1, cooldownSeconds: 60 },
  { condition: { operator: "noData", noDataSeconds: 90 }, cooldownSeconds: 0 },
  {
    condition: { operator: "outside", value: [20, 75], durationSeconds: 30 },
    debounceSeconds: 45,
    cooldownSeconds: 300,
    schedule: { days: [1, 2, 3, 4, 5, 6, 7], from: "09:15", to: "17:45", timeZone: "Asia/Kolkata" }
  }
]

interface Arrival {
  readonly deviceId: string
  readonly ts: number
  readonly receivedAt: number
  readonly readingId: string
  readonly t: number
}

/** Some hours of noise, spikes and gaps; each reading up to 29 s late, some twice. */
const arrivalsOf = ({ devices }: Registry, random: () => number): ReadonlyArray<Arrival> => {
  const arrivals: Array<Arrival> = []
  for (const [index, deviceId] of devices.entries()) {
    let ts = START + index * SECOND
    let level = 50
    while (ts < START + HOURS * 3_600 * SECOND) {
      ts += Math.round((5 + random() * 20) * SECOND)
      if (random() < 0.004) ts += Math.round(random() * 600 * SECOND)
      level = Math.min(100, Math.max(0, level + (random() - 0.5) * 12))
      const t = random() < 0.01 ? 120 : level
      const receivedAt = ts + Math.round(random() * random() * 29 * SECOND)
      const arrival = { deviceId, ts, receivedAt, readingId: randomUUID(), t }
      arrivals.push(arrival)
      if (random() < 0.03) arrivals.push({ ...arrival, receivedAt: receivedAt + Math.round(random() * SECOND) })
    }
  }
  return arrivals.toSorted((left, right) => left.receivedAt - right.receivedAt)
}

const decode = Schema.decodeUnknownSync(RuleConfig)

const backtested = (tenantId: string, ids: ReadonlyArray<string>, arrivals: ReadonlyArray<Arrival>, until: number) => {
  const versions = rules.map((rule, index) => ({
    id: ids[index]!,
    version: 1,
    effectiveAt: 0,
    tenantId,
    config: decode({
      name: "a rule",
      entityType: "device",
      scope: { kind: "all" },
      metricKey: "t",
      severity: "high",
      ...rule
    })
  })) as ReadonlyArray<object> as ReadonlyArray<RuleVersion>
  const compiled = ruleCompiler({ parse: () => undefined, evaluate: () => Result.succeed(undefined) })(versions)
  const shown: Array<string> = []
  for (const [deviceId, ofDevice] of Map.groupBy(arrivals, (arrival) => arrival.deviceId)) {
    const inputs = ofDevice
      .map(({ readingId, receivedAt, t, ts }): RuleInput => ({ readingId, receivedAt, ts, metrics: { t } }))
      .toSorted((left, right) => left.ts - right.ts || (left.readingId < right.readingId ? -1 : 1))
    const last = inputs.at(-1)!
    const { told } = foldAll(
      entityRules(compiled, () => []),
      inputs,
      last.ts + until - last.receivedAt
    )
    for (const { endedAt, ruleId, severity, startedAt } of told.values())
      shown.push([ids.indexOf(ruleId), deviceId, startedAt, endedAt ?? null, severity].join(" "))
  }
  return shown.toSorted()
}

/** What the API answers on the stored readings: what ended before they did, by rule, device, beginning, end and severity. */
const answered = Effect.fnUntraced(function* (tenantId: string, arrivals: ReadonlyArray<Arrival>) {
  const sql = yield* OwnerSql
  const backtests = yield* Backtests
  const rows = arrivals.map(({ deviceId, readingId, receivedAt, t, ts }) => ({
    deviceId,
    readingId,
    receivedAt,
    t,
    ts
  }))
  yield* sql`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
      source_device_id, config_version, metrics)
    select ${tenantId}::uuid, 'device', "deviceId", timestamptz 'epoch' + ts * interval '1 microsecond', "readingId",
      "readingId", timestamptz 'epoch' + "receivedAt" * interval '1 microsecond', "deviceId", 1, jsonb_build_object('t', t)
    from jsonb_to_recordset(${sql.json(rows)}) as given ("deviceId" uuid, "readingId" uuid, ts bigint, "receivedAt" bigint, t float8)
    on conflict do nothing`
  const shown: Array<string> = []
  for (const [index, rule] of rules.entries()) {
    const { alarms } = yield* backtests.run(
      { tenantId, userId: undefined } as object as Parameters<typeof backtests.run>[0],
      {
        rule: { name: "a rule", entityType: "device", metricKey: "t", severity: "high", ...rule } as never,
        from: START,
        to: START + (HOURS + 2) * 3_600 * SECOND
      }
    )
    for (const { endedAt, entityId, severity, startedAt } of alarms)
      shown.push(
        [index, entityId, microsFromIso(startedAt), endedAt === null ? null : microsFromIso(endedAt), severity].join(
          " "
        )
      )
  }
  return shown.toSorted()
})

/** @param largestBatch within a batch nothing comes late */
const run = Effect.fnUntraced(function* (seed: number, horizonMicros: number, largestBatch: number) {
  const random = randomFrom(seed)
  const registry = yield* register(DEVICES)
  const { tenantId } = registry
  const ids: Array<string> = []
  for (const rule of rules) ids.push(yield* saveRule(tenantId, rule))
  const arrivals = arrivalsOf(registry, random)
  const records = yield* log(
    arrivals.map(({ deviceId, readingId, receivedAt, t, ts }) =>
      recordOf(registry, { deviceId, readingId, receivedAt, ts, metrics: { t } })
    )
  )
  const engine = yield* makeRuleEngine({ horizonMicros, saveEveryMillis: 0 })
  let restarts = 0
  for (let from = 0; from < records.length;) {
    const size = 1 + Math.floor(random() ** 3 * largestBatch)
    const batch = records.slice(from, from + size)
    const process = engine.process(batch)
    const fate = random()
    if (fate < 0.05) {
      restarts++
      yield* engine.crash(fate < 0.025 ? "stored" : "folded", process)
      yield* process
    } else yield* process
    from += size
    if (random() < 0.3) yield* engine.tick(Number(batch.at(-1)!.headers["received-at"]))
    if (random() < 0.05) {
      restarts++
      yield* engine.restart
    }
  }
  const until = START + (HOURS * 3_600 + 3_000) * SECOND
  yield* engine.tick(until)
  yield* engine.tick(until + 100 * SECOND)
  const alarms = (yield* alarmsOf(tenantId)).filter(({ state }) => state !== "retracted")
  const shown = alarms.map(({ ended_at, entity_id, rule_id, severity, started_at }) =>
    [ids.indexOf(rule_id), entity_id, started_at, ended_at, severity].join(" ")
  )
  const unsettled = alarms.filter(({ settled }) => !settled)
  const events = yield* eventsOf(tenantId)
  return {
    arrivals,
    tenantId,
    live: shown.toSorted(),
    expected: backtested(tenantId, ids, arrivals, until),
    unsettled,
    restarts,
    events,
    alarms
  }
})

layer(Backtests.layer.pipe(Layer.provideMerge(world)), { excludeTestServices: true, timeout: 120_000 })(
  "alarms",
  (it) => {
    it.effect("live are those of a backtest, whatever the disorder, the doubles, the batches and the restarts", () =>
      Effect.gen(function* () {
        const seed = randomInt(2 ** 31)
        const { alarms, arrivals, events, expected, live, restarts, tenantId, unsettled } = yield* run(
          seed,
          30 * SECOND,
          600
        )
        console.log(`seed ${seed}: ${live.length} alarms, ${restarts} restarts, ${events.length} events`)
        assert.isAbove(live.length, 200, `seed ${seed}`)
        assert.deepStrictEqual(live, expected, `seed ${seed}`)
        assert.deepStrictEqual(unsettled, [], `seed ${seed}`)
        assert.deepStrictEqual(yield* answered(tenantId, arrivals), live, `seed ${seed}: from PostgreSQL`)
        const breaches = new Set(
          events.filter(({ event_type }) => event_type === "THRESHOLD_BREACH").map(({ alarm_id }) => alarm_id)
        )
        assert.deepStrictEqual(
          alarms.filter(({ id }) => !breaches.has(id)),
          [],
          `seed ${seed}: told of`
        )
      })
    )

    it.effect("are others with a horizon of zero: the disorder is real", () =>
      Effect.gen(function* () {
        const seed = randomInt(2 ** 31)
        const { expected, live } = yield* run(seed, 0, 60)
        assert.notDeepEqual(live, expected, `seed ${seed}`)
      })
    )
  }
)
