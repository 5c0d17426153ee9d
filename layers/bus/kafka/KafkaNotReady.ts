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

  /** It may answer later; a cluster that answers and does not fit, or refuses the login, will not. */
  get isRetryable(): boolean {
    const { cause } = this
    if (!(cause instanceof Error) || cause.name.startsWith("KafkaJSSASL")) return false
    return cause.name.startsWith("KafkaJS") && !isAnswer(cause)
  }
}
