/**
 * What all parts of one running consumer loop share.
 * @module
 */
import type { Context, Latch } from "effect"
import type { PipelineClient } from "../../database/Sql.ts"
import type { SafeguardSwitches } from "../../Safeguards.ts"
import type { MessageTracing } from "../../tracing/MessageTracing.ts"
import type { Bus } from "../Bus.ts"
import type { Consumer } from "../Consumer.ts"
import type { ConsumerMetrics } from "./ConsumerMetrics.ts"
import type { StatusRegistry } from "./ConsumerStatus.ts"
import type { GroupCommit } from "./GroupCommit.ts"
import type { Outages } from "./Outages.ts"
import type { Partition } from "./Partition.ts"

export interface Loop<R> {
  readonly consumer: Consumer<R>
  readonly bus: Context.Service.Shape<typeof Bus>
  readonly sql: PipelineClient
  readonly safeguards: SafeguardSwitches
  readonly metrics: ConsumerMetrics
  readonly status: StatusRegistry
  readonly outages: Outages
  readonly commits: GroupCommit<R>
  /** Undefined: off. */
  readonly tracing: MessageTracing | undefined
  /** Owned, by `topic/partition`. */
  readonly partitions: Map<string, Partition>
  /** Open: a person has set partitions that this member has to other offsets. */
  readonly rewound: Latch.Latch
}
