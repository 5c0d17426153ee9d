/**
 * Which bus there is: Kafka where `KAFKA_BROKERS` is set, else the embedded log.
 * @module
 */
import { Config, Effect, Layer, Option } from "effect"
import type { Bus } from "./Bus.ts"
import * as KafkaBus from "./kafka/KafkaBus.ts"
import { brokers } from "./kafka/settings.ts"
import * as LocalBus from "./local/LocalBus.ts"

type Fails = Layer.Error<typeof KafkaBus.layerConfig> | Layer.Error<typeof LocalBus.layerConfig>

export const layerConfig = Layer.unwrap(
  Effect.map(Config.option(brokers), (set): Layer.Layer<Bus, Fails> =>
    Option.isSome(set) ? KafkaBus.layerConfig : LocalBus.layerConfig
  )
)
