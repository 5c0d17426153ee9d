/**
 * The record of a dead letter, from the topic that is its truth.
 * @module
 */
import { Effect, Option, Stream } from "effect"
import { type Bus, type Position } from "../bus/Bus.ts"

/** Undefined where retention has removed the record, or where something else lies in its place. */
export const readBack = (bus: Bus["Service"], id: string, { topic, partition, offset }: Position) =>
  bus.read({ topic, partition }, offset, offset + 1n).pipe(
    Stream.runHead,
    Effect.map(Option.getOrUndefined),
    Effect.map((record) => (record?.offset === offset && record.headers["dlq-id"] === id ? record : undefined)),
    Effect.catchTag("UnknownTopic", () => Effect.succeed(undefined))
  )
