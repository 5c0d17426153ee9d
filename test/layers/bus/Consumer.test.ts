import { Topics, topicTable } from "@argusiq/domain/topics.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { Effect, Layer } from "effect"
import { consumerContract, Forgetting } from "./ConsumerContract.ts"
import { freshDirectory } from "./ConsumerWorld.ts"

const local = (options: LocalBus.LogOptions = {}) =>
  Layer.unwrap(
    Effect.map(freshDirectory, (directory) => LocalBus.layer({ directory, minFreeBytes: 0, ...options }))
  ).pipe(Layer.orDie, Layer.fresh)

const raw = topicTable.get(Topics.raw)!
const forgetting = Layer.effect(Forgetting, Effect.map(LocalBus.LogRetention, Forgetting.of))

consumerContract("the embedded log", {
  bus: local(),
  forgetful: Layer.provideMerge(
    forgetting,
    local({ topics: [...topicTable.values(), { ...raw, retentionMillis: -1_000 }] })
  )
})
