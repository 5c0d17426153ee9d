/**
 * A day of assets taken by processes that are killed, and what came of it against what a rebuild makes of it from nothing and
 * what backtests say of its rules.
 * @module
 */
import { failpoints as assetPlaces } from "@argusiq/asset-health/Failpoints.ts"
import { type NewRule } from "@argusiq/domain/http/rules.ts"
import { microsFromIso } from "@argusiq/domain/http/scalars.ts"
import type { TenantId } from "@argusiq/domain/ids.ts"
import { failpoints as rulePlaces } from "@argusiq/event-engine/rules/Failpoints.ts"
import { Backtests } from "@argusiq/layers/alarms/Backtests.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Jobs } from "@argusiq/layers/jobs/Jobs.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { Effect, Layer } from "effect"
import { freshDirectory } from "../layers/bus/ConsumerWorld.ts"
import { type Day, type DayPlan, differencesOf, makeDay, toldOf, wipe } from "./assetDay.ts"
import { type AssetPipeline, assetProcess } from "./assetProcess.ts"
import { rebuildWorld, runJobs } from "./assetRebuild.ts"

/** All but the one where a rebuilt base is taken over, since these runs have none while they are live. */
export const places: ReadonlyArray<string> = [
  ...assetPlaces.filter((place) => place !== "stored-before-publish").map((place) => `assets ${place}`),
  ...rulePlaces.map((place) => `rules ${place}`)
]

/** A process that is killed: where, the n-th time that it comes there. */
export interface Kill {
  readonly place: string
  readonly times: number
}

export interface RunPlan {
  readonly day: DayPlan
  readonly kills: ReadonlyArray<Kill>
  /** Of the pipeline's role. */
  readonly url: string
  readonly saveMillis: number
  readonly withinMillis: number
  readonly maxRecords: number
  /** Something that has to be noticed. */
  readonly control?: Pick<AssetPipeline, "horizonMicros" | "wallClock">
}

const publishedAtOnce = 5_000

const rebuilt = (day: Day) =>
  Effect.gen(function* () {
    const actor = { tenantId: day.tenantId as TenantId, userId: undefined }
    const jobs = yield* Jobs
    const span = {
      from: day.before,
      to: Date.now() * 1_000,
      configuration: "as it was",
      scope: { kind: "all" }
    } as const
    const asked = [
      yield* jobs.rebuild(actor, { what: "assets", ...span }),
      yield* jobs.rebuild(actor, { what: "rules", entityType: "device", ...span })
    ]
    yield* runJobs(asked, actor)
  })

/** The alarms of rules that were not edited, in a form that both sides have. */
const alarmsOf = Effect.fnUntraced(function* (ruleIds: ReadonlyArray<string>) {
  const sql = yield* OwnerSql
  const micros = (column: string) => sql.literal(`(extract(epoch from ${column}) * 1000000)::float8`)
  const rows = yield* sql<{ rule: string; entity: string; started: number; ended: number | null; severity: string }>`
    select rule_id as rule, entity_id as entity, ${micros("started_at")} as started, ${micros("ended_at")} as ended, severity
    from alarms where state <> 'retracted'`
  return rows
    .filter(({ rule }) => ruleIds.includes(rule))
    .map(({ ended, entity, rule, severity, started }) => [rule, entity, started, ended, severity].join(" "))
    .toSorted()
})

const backtested = Effect.fnUntraced(function* ({ before, rules, tenantId }: Day) {
  const backtests = yield* Backtests
  const lines: Array<string> = []
  for (const { config, id, isEdited } of rules) {
    if (isEdited) continue
    const { scope, ...rest } = config as { readonly scope: { readonly kind: string; readonly id?: string } }
    const rule = { ...rest, ...(scope.kind === "type" && { assetTypeId: scope.id }) } as object as NewRule
    const actor = { tenantId: tenantId as TenantId, userId: undefined }
    const { alarms } = yield* backtests.run(actor, { rule, from: before, to: Date.now() * 1_000 })
    for (const { endedAt, entityId, severity, startedAt } of alarms) {
      const ended = endedAt === null ? null : microsFromIso(endedAt)
      lines.push([id, entityId, microsFromIso(startedAt), ended, severity].join(" "))
    }
  }
  return lines.toSorted()
})

/** Alarms of which nobody was told. */
const untold = Effect.gen(function* () {
  const sql = yield* OwnerSql
  return yield* sql<{ id: string }>`
    select alarm.id from alarms alarm
    left join system_events event on event.alarm_id = alarm.id and event.event_type = 'THRESHOLD_BREACH'
    where alarm.state <> 'retracted' group by alarm.id having count(event.id) = 0`
})

const compared = (name: string, left: ReadonlyArray<string>, right: ReadonlyArray<string>) => {
  const missing = left.filter((line) => !new Set(right).has(line))
  const added = right.filter((line) => !new Set(left).has(line))
  return missing.length + added.length === 0
    ? []
    : [`${name}: ${missing.length} only live (${missing[0]}), ${added.length} only there (${added[0]})`]
}

export const runAssets = Effect.fnUntraced(function* ({
  control,
  day: plan,
  kills,
  maxRecords,
  saveMillis,
  url,
  withinMillis
}: RunPlan) {
  const day = yield* makeDay(plan)
  const directory = yield* freshDirectory
  const bus = LocalBus.layer({ directory, minFreeBytes: 0 }).pipe(Layer.orDie)
  /** Each life has a part of the day before it, so that all stages have work wherever it ends. */
  const inPart = Math.ceil(day.sent.length / (kills.length + 1))
  const send = (part: number) =>
    Effect.gen(function* () {
      const { publish } = yield* Bus
      const sent = day.sent.slice(part * inPart, (part + 1) * inPart)
      for (let from = 0; from < sent.length; from += publishedAtOnce)
        yield* publish(sent.slice(from, from + publishedAtOnce))
      return { sentUntil: Math.max(...sent.map(({ headers }) => Number(headers["received-at"]))) }
    }).pipe(Effect.provide(Layer.fresh(bus)))
  const life: AssetPipeline = { directory, url, maxRecords, saveMillis, withinMillis, ...control }
  const faults: Array<string> = []
  const hits = new Map<string, number>()
  for (const [part, { place, times }] of kills.entries()) {
    const end = yield* assetProcess({ ...life, ...(yield* send(part)), place, times })
    if (end === "SIGKILL") hits.set(place, (hits.get(place) ?? 0) + 1)
    else if (end !== "exit code 0") faults.push(`a process to be killed at ${place} ended with ${end}`)
  }
  yield* send(kills.length)
  const end = yield* assetProcess(life)
  if (end !== "exit code 0") faults.push(`the last process ended with ${end}`)
  const live = yield* toldOf
  const ruleIds = day.rules.flatMap(({ id, isEdited }) => (isEdited ? [] : [id]))
  const liveAlarms = yield* alarmsOf(ruleIds)
  faults.push(...(yield* untold).map(({ id }) => `nobody was told of alarm ${id}`))
  const world = Layer.mergeAll(Backtests.layer.pipe(Layer.provide(Sandbox.layer)), rebuildWorld)
  yield* Effect.gen(function* () {
    faults.push(...compared("backtested", liveAlarms, yield* backtested(day)))
    yield* wipe
    yield* rebuilt(day)
  }).pipe(Effect.provide(Layer.fresh(world.pipe(Layer.provideMerge(bus)))))
  faults.push(...differencesOf(live, yield* toldOf))
  return { faults, hits, live, sent: day.sent.length, doubles: day.doubles }
})
