import { topicTable } from "@argusiq/domain/topics.ts"

/** The full name for `raw`, `normalized`, `raw.dlq` and the like; anything else unchanged. */
export const fullTopicName = (name: string): string => {
  if (topicTable.has(name)) return name
  const [short, ...rest] = name.split(".")
  const full = [`telemetry.${short}.v1`, ...rest].join(".")
  return topicTable.has(full) ? full : name
}
