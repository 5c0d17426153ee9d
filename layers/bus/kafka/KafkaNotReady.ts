import { Schema } from "effect"
import { isAnswer } from "./Connection.ts"

/** Kafka cannot serve as the bus. */
export class KafkaNotReady extends Schema.TaggedError<KafkaNotReady>()("KafkaNotReady", {
  brokers: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `Kafka at ${this.brokers} cannot serve as the bus: ${why}`
  }

  /** It may answer later; a cluster that answers and does not fit will not. */
  get isRetryable(): boolean {
    return this.cause instanceof Error && this.cause.name.startsWith("KafkaJS") && !isAnswer(this.cause)
  }
}
