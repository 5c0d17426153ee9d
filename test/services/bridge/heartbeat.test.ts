import { heartbeat } from "@argusiq/bridge/heartbeat.ts"
import { Ingest } from "@argusiq/bridge/Ingest.ts"
import { readAcceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { a1, closedBridge, Faults, shortTopic } from "./support.ts"

const origin = { source: "mqtt", sender: { deviceId: a1.id, tenantId: a1.org }, clientId: undefined } as const
const message = { origin, topic: shortTopic(a1), contentType: undefined, payload: Buffer.from("{}") }
const micros = () => Date.now() * 1_000

/** The gaps that begin after an instant. */
const gapsSince = (since: number) =>
  Effect.gen(function* () {
    const { gaps } = yield* readAcceptance(yield* PipelineSql)
    return gaps.filter(({ from }) => from > since)
  })
const gapSince = (since: number) =>
  gapsSince(since).pipe(
    Effect.delay(50),
    Effect.repeat({ until: (gaps) => gaps.length > 0 }),
    Effect.timeout("30 seconds")
  )

/** Until the database has been told that messages were accepted after an instant. */
const toldOf = (instant: number) =>
  Effect.flatMap(PipelineSql, readAcceptance).pipe(
    Effect.delay(50),
    Effect.repeat({ until: ({ acceptedUntil }) => acceptedUntil > instant }),
    Effect.timeout("30 seconds")
  )

layer(closedBridge(), { excludeTestServices: true, timeout: 60_000 })("what a bridge tells of itself", (it) => {
  it.effect("leaves a gap from the first message that waited for the log to when it was durable", () =>
    Effect.gen(function* () {
      const [faults, ingest] = [yield* Faults, yield* Ingest]
      const since = micros()
      yield* Effect.forkScoped(heartbeat(() => true))
      yield* toldOf(since)
      const from = micros()
      faults.bus = "hangs"
      const stored = yield* Effect.forkChild(
        Effect.callback<void>((resume) => ingest.offer(message, () => resume(Effect.void)))
      )
      yield* Effect.sleep(4_200)
      assert.isAtMost(ingest.acceptedUntil() - from, 1_000_000)
      assert.deepStrictEqual(yield* gapsSince(since), [])
      const to = micros()
      faults.bus = "none"
      const gaps = yield* gapSince(since)
      assert.lengthOf(gaps, 1)
      assert.isAtMost(Math.abs(gaps[0]!.from - from), 3_000_000)
      assert.isAtLeast(gaps[0]!.to, to)
      stored.interruptUnsafe()
    })
  )

  it.effect("leaves a gap where not all doors were open, or it did not run at all", () =>
    Effect.gen(function* () {
      let isOpen = true
      const since = micros()
      yield* Effect.forkScoped(heartbeat(() => isOpen))
      yield* toldOf(since)
      isOpen = false
      yield* Effect.sleep(4_200)
      assert.deepStrictEqual(yield* gapsSince(since), [])
      isOpen = true
      const [gap] = yield* gapSince(since)
      assert.isAtLeast(gap!.to - gap!.from, 3_000_000)
    })
  )

  it.effect("counts a log that refuses those who do not wait as closed, until it takes something", () =>
    Effect.gen(function* () {
      const [faults, ingest] = [yield* Faults, yield* Ingest]
      const from = micros()
      faults.bus = "unavailable"
      assert.isUndefined(yield* ingest.deliver([message]))
      yield* Effect.sleep(1_000)
      assert.isUndefined(yield* ingest.deliver([message]))
      assert.isAtMost(ingest.acceptedUntil() - from, 900_000)
      faults.bus = "none"
      assert.lengthOf((yield* ingest.deliver([message]))!, 1)
      assert.isAtLeast(ingest.acceptedUntil() - from, 1_000_000)
    })
  )
})
