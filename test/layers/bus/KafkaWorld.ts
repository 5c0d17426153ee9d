/**
 * What the fault tests of Kafka stand on: members in processes of their own, a publisher that never gives up, and the
 * verdict over what was stored.
 * @module
 */
import { Topics, topicTable } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { numbered } from "./ConsumerWorld.ts"

const script = fileURLToPath(new URL("kafkaMember.ts", import.meta.url))

/** All that the members read, and the dead letters of it. */
export const topics = [Topics.raw, `${Topics.raw}.dlq`].map((name) => topicTable.get(name)!)

export interface MemberArguments {
  readonly brokers: string
  readonly prefix: string
  /** URL of the pipeline's role. */
  readonly database: string
  readonly group: string
  readonly sessionMillis: number
  readonly offsetWithRows: boolean
  /** Records after which it kills itself instead of storing the next. */
  readonly diesAfter?: number
}

/** A member that runs until it is told otherwise. */
export class Member {
  readonly #child: ChildProcess
  readonly ended: Promise<NodeJS.Signals | number | null>

  constructor(member: MemberArguments) {
    this.#child = spawn(process.execPath, [script, JSON.stringify(member)], { stdio: ["ignore", "pipe", "inherit"] })
    this.ended = new Promise((resolve) => this.#child.once("exit", (code, signal) => resolve(signal ?? code)))
  }

  readonly ready = (): Promise<void> =>
    new Promise((resolve, reject) => {
      this.#child.stdout?.on("data", (chunk: Buffer) => {
        if (chunk.includes("ready")) resolve()
      })
      this.#child.once("exit", () => reject(new Error("the member ended before it was ready")))
    })

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.#child.kill("SIGCONT")
    this.#child.kill(signal)
    await this.ended
  }
}

/** Runs the members that `body` starts, and ends them with it. */
export const withMembers = <A, E, R>(
  member: MemberArguments,
  body: (start: (more?: Partial<MemberArguments>) => Effect.Effect<Member>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const members: Array<Member> = []
    const start = (more: Partial<MemberArguments> = {}) =>
      Effect.promise(async () => {
        const started = new Member({ ...member, ...more })
        members.push(started)
        await started.ready()
        return started
      })
    return Effect.ensuring(
      body(start),
      Effect.promise(() => Promise.all(members.map((one) => one.end("SIGKILL"))))
    )
  })

const KEYS = 24

/** Numbers from 0 on under each of several keys, some at a time, until it is told to stop; how many of each there are. */
export const publishUntil = Effect.fnUntraced(function* (stopped: () => boolean, perKey = 5, pauseMillis = 20) {
  const bus = yield* Bus
  let next = 0
  let refused = 0
  while (!stopped()) {
    const records = Array.from({ length: KEYS * perKey }, (_, index) =>
      numbered(`key-${index % KEYS}`, next + Math.floor(index / KEYS))
    )
    // Again and again, as a service does; what was appended nevertheless would be there twice.
    yield* bus.publish(records).pipe(
      Effect.tapError(() => Effect.sync(() => refused++)),
      Effect.retry({ while: (error) => error._tag === "BusUnavailable" })
    )
    next += perKey
    yield* Effect.sleep(pauseMillis)
  }
  return { each: next, keys: KEYS, refused }
})

export interface Verdict {
  readonly missing: number
  readonly doubled: number
  /** Rows stored after a later one of their key. */
  readonly outOfOrder: number
}

/** What a group has stored, of `each` numbers under each key. */
export const verdictOf = Effect.fnUntraced(function* (group: string, each: number) {
  const sql = yield* PipelineSql
  const rows = yield* sql<{ stored: number; distinct: number; late: number }>`
    select count(*)::int as stored, count(distinct (key, number))::int as distinct,
      count(*) filter (where number < before)::int as late
    from (select key, number, lag(number) over (partition by key order by sequence) as before
      from stored where "group" = ${group} and number < ${each}) as rows`
  const { stored, distinct, late } = rows[0] ?? { stored: 0, distinct: 0, late: 0 }
  return { missing: KEYS * each - distinct, doubled: stored - distinct, outOfOrder: late } satisfies Verdict
})

/** Waits until nothing is missing any more, or `seconds` are over. */
export const settledVerdict = Effect.fnUntraced(function* (group: string, each: number, seconds: number) {
  const deadline = Date.now() + seconds * 1_000
  let verdict = yield* verdictOf(group, each)
  while (verdict.missing > 0 && Date.now() < deadline) {
    yield* Effect.sleep(250)
    verdict = yield* verdictOf(group, each)
  }
  // What comes twice comes a little later.
  yield* Effect.sleep(500)
  return yield* verdictOf(group, each)
})
