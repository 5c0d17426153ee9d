import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { TestDatabase, testDatabase } from "../../support/postgres.ts"
import {
  freshDirectory,
  makeTable,
  newGroup,
  numbers,
  offsetOf,
  partitionOf,
  recordsOf,
  start,
  storedOf,
  storing,
  until
} from "./ConsumerWorld.ts"

const program = fileURLToPath(new URL("consumerToKill.ts", import.meta.url))

/** Ends with the signal that ended the process. */
const runUntilKilled = (args: ReadonlyArray<string>) =>
  Effect.callback<string | null>((resume) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "inherit", "inherit"] })
    child.on("exit", (_, signal) => resume(Effect.succeed(signal)))
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

/** A process is killed after it published and before it stored; another goes on. What is stored in the end, and how often it was published. */
const killedOnce = (offsetWithRows: boolean) =>
  Effect.gen(function* () {
    const group = newGroup()
    const directory = yield* freshDirectory
    const { pipeline } = yield* TestDatabase
    const bus = Layer.orDie(LocalBus.layer({ directory, minFreeBytes: 0 }))
    yield* Effect.flatMap(Bus, ({ publish }) => publish(numbers("a", 0, 40))).pipe(Effect.provide(Layer.fresh(bus)))
    assert.strictEqual(yield* runUntilKilled([directory, pipeline, group, String(offsetWithRows)]), "SIGKILL")
    return yield* Effect.gen(function* () {
      yield* (yield* Bus).publish(numbers("a", 40, 50))
      const partition = yield* partitionOf("a")
      yield* start(storing(group))
      yield* until(
        "all is read",
        Effect.map(offsetOf(group, partition), (row) => row?.next === 50n)
      )
      return { stored: yield* storedOf(group, "a"), published: (yield* recordsOf(Topics.endpoint, "a")).length }
    }).pipe(Effect.provide(Layer.fresh(bus)), Effect.scoped)
  })

const database = Layer.provideMerge(Layer.effectDiscard(Effect.orDie(makeTable)), testDatabase)
layer(database, { excludeTestServices: true })("a process killed between publishing and storing", (it) => {
  it.effect("repeats its batch: every row is stored, none twice", () =>
    Effect.gen(function* () {
      const { stored, published } = yield* killedOnce(true)
      assert.deepStrictEqual(
        stored,
        Array.from({ length: 50 }, (_, index) => index)
      )
      assert.strictEqual(published, 40)
    })
  )

  it.effect("loses its batch where the offset is committed before the rows, which is why it is not", () =>
    Effect.gen(function* () {
      const { stored } = yield* killedOnce(false)
      assert.deepStrictEqual(
        stored,
        Array.from({ length: 10 }, (_, index) => 40 + index)
      )
    })
  )
})
