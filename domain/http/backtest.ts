/**
 * Backtests: which alarms a rule would have raised on what is stored.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { MetricValue } from "../readings.ts"
import { Severity } from "../system-event.ts"
import { Unprocessable } from "./problems.ts"
import { NewRule } from "./rules.ts"
import { InstantFromIso, IsoInstant } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const BacktestRequest = Schema.Struct({
  rule: NewRule, // as it would be created; nothing of it is stored
  entityIds: Schema.optionalKey(Schema.NonEmptyArray(Uuid).check(Schema.isMaxLength(1_000))), // instead of the rule's scope
  from: InstantFromIso,
  to: InstantFromIso
}).annotate({ identifier: "BacktestRequest" })
export type BacktestRequest = typeof BacktestRequest.Type

export const BacktestAlarm = Schema.Struct({
  entityId: Uuid,
  severity: Severity,
  startedAt: IsoInstant, // before `from` where it was open then
  endedAt: Schema.NullOr(IsoInstant), // null: open at the end
  value: Schema.NullOr(MetricValue),
  threshold: Schema.NullOr(Schema.Finite)
}).annotate({ identifier: "BacktestAlarm" })
export type BacktestAlarm = typeof BacktestAlarm.Type

export const Backtest = Schema.Struct({
  alarms: Schema.Array(BacktestAlarm), // by their beginning
  entities: Schema.Int, // how many were looked at
  readings: Schema.Int, // how many were folded, those of the warm-up among them
  warmUpFrom: IsoInstant // readings from here on were folded, so that durations, cooldowns and windows are under way at `from`
}).annotate({ identifier: "Backtest" })
export type Backtest = typeof Backtest.Type

export class BacktestApi extends HttpApiGroup.make("backtest")
  .add(
    HttpApiEndpoint.post("run", "/", { payload: BacktestRequest, success: Backtest, error: Unprocessable })
      .annotate(RequiredPermission, "rules:read")
      .annotate(OpenApi.Summary, "Which alarms a rule would have raised")
      .annotate(
        OpenApi.Description,
        "Folds the stored readings as live ones are folded, and stores nothing. At most 1,000 entities, 366 days, " +
          "10,000 alarms and 30 seconds."
      )
  )
  .prefix("/api/v1/rules/backtest")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
