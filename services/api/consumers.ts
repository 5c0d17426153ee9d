/**
 * How far every consumer group has come, also those that other processes run: the offsets they have stored against the log.
 * @module
 */
import { type BusUnavailable, DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type ConsumerState } from "@argusiq/domain/http/operations.ts"
import { pipeline } from "@argusiq/domain/pipeline.ts"
import { Bus, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import { ConsumerStatus, type PartitionReport } from "@argusiq/layers/bus/consumer/ConsumerStatus.ts"
import { beginAgain } from "@argusiq/layers/bus/consumer/Offsets.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"

type State = typeof ConsumerState.Type

/** A partition of a group: by what it is known. */
export interface Named extends TopicPartition {
  readonly group: string
}
const keyOf = ({ group, partition, topic }: Named) => `${group}/${topic}/${partition}`

interface Stored extends Named {
  readonly epoch: bigint
  readonly log_id: string
  readonly next: bigint
}

const states = { Running: "running", Waiting: "waiting", Stopped: "stopped" } as const
const detailOf = ({ status }: PartitionReport): string | null => {
  if (status._tag === "Running") return null
  return status._tag === "Waiting" ? status.reason : status.explanation
}

const elsewhere =
  "It is read by another process, or by none: when you have accepted the log, restart the processes that run the group."

export const makeConsumers = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const status = yield* ConsumerStatus

  /** Of groups that keep their offsets beside what they store; not those of a log that had more partitions. */
  const storedOffsets = (groups: ReadonlyArray<string>) =>
    sql<Stored>`
      select "group", topic, partition, epoch, log_id, next from consumer_offsets
      where "group" = any(${groups}::text[]) and partition < ${bus.partitions} and next is not null
        and log_id is not null
      order by "group", topic, partition`.pipe(Effect.mapError((cause) => new DatabaseUnavailable({ cause })))

  /** As the group itself would find when it begins: why its offset does not fit the log; undefined when it does. */
  const misfit = ({ log_id, next }: Stored, { end, start }: { readonly start: bigint; readonly end: bigint }) => {
    if (log_id !== bus.logId) return "The stored offset belongs to another log."
    if (next > end) return "The stored offset lies beyond the log's end: the log has lost records."
    if (next < start) return "The stored offset lies below the log's start: records were removed before they were read."
    return undefined
  }

  const list = Effect.gen(function* () {
    const reports = new Map(status.all().map((report) => [keyOf(report), report]))
    const groups = [
      ...new Set([...pipeline.map(({ group }) => group), ...Array.from(reports.values(), ({ group }) => group)])
    ]
    const rows = yield* storedOffsets(groups)
    const items: Array<State> = []
    for (const group of groups) {
      const stored = new Map(rows.filter((row) => row.group === group).map((row) => [keyOf(row), row]))
      const committed = new Map((yield* bus.lag(group)).map((at) => [keyOf({ group, ...at }), { group, ...at }]))
      for (const at of new Map<string, Named>([...committed, ...stored]).values()) {
        const { partition, topic } = at
        const key = keyOf(at)
        const row = stored.get(key)
        const hint = committed.get(key)
        const report = reports.get(key)
        const range = yield* bus.range(at)
        const fault = report === undefined && row !== undefined ? misfit(row, range) : undefined
        // What is stored is the truth; the bus hears of it a moment later.
        const next = row?.next ?? hint?.offset ?? 0n
        const lag = range.end > next ? range.end - next : 0n
        items.push({
          group,
          topic,
          partition,
          next: report?.status._tag === "Stopped" ? report.status.error.offset : String(next),
          end: String(range.end),
          lag: Number(lag),
          lagSeconds: lag === 0n ? 0 : (hint?.seconds ?? 0),
          state: report !== undefined ? states[report.status._tag] : fault === undefined ? "elsewhere" : "stopped",
          detail: report !== undefined ? detailOf(report) : fault === undefined ? null : `${fault} ${elsewhere}`
        })
      }
    }
    return { items }
  })

  /** Goes on with a stopped partition at the oldest record of the log, whose offset it gives; undefined: it has not stopped.
   * One that another process reads goes on there once it begins again. */
  const accept = Effect.fnUntraced(function* (named: Named) {
    const report = status.all().find((one) => keyOf(one) === keyOf(named))
    if (report !== undefined) return report.status._tag === "Stopped" ? yield* report.status.accept : undefined
    const row = (yield* storedOffsets([named.group])).find((one) => keyOf(one) === keyOf(named))
    if (row === undefined) return undefined
    const range = yield* bus.range(row)
    if (misfit(row, range) === undefined) return undefined
    const isStill = yield* beginAgain(sql, row, bus.logId, range.start).pipe(
      Effect.mapError((cause): BusUnavailable | DatabaseUnavailable => new DatabaseUnavailable({ cause }))
    )
    return isStill ? range.start : undefined
  })

  return { list, accept }
})
