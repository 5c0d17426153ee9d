import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** Those that take longest, by their paths, begin first: none of them is left to run alone at the end. */
const longest = [
  "faults/log-positions",
  "faults/assets",
  "end-to-end/cluster",
  "bus/KafkaFaults",
  "end-to-end/platform",
  "end-to-end/realtime.",
  "end-to-end/connectivity",
  "end-to-end/certificates",
  "faults/kills",
  "chunker/Chunker",
  "bus/KafkaPlatform",
  "bus/KafkaBus",
  "faults/postgres-away",
  "profiles/SharedProfiles",
  "end-to-end/replay",
  "end-to-end/dead-letters",
  "end-to-end/assets",
  "database/EmbeddedPostgres",
  "bus/Consumer."
]
const placeOf = ({ moduleId }: TestSpecification) => {
  const place = longest.findIndex((path) => moduleId.includes(`/${path}`))
  return place < 0 ? longest.length : place
}

class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    // oxlint-disable-next-line unicorn/no-array-sort -- the sequencer's, which is no array's
    const byHabit = await super.sort(files)
    return byHabit.toSorted((one, other) => placeOf(one) - placeOf(other))
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/faults/long/**", "**/node_modules/**"],
    // Much of a run is waiting: for sessions that expire, for servers that start. Two files at a time keep two cores busy; three take
    // longer in all, and deadlines pass.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // A worker takes one file after another, without loading all modules for each: a tenth of the run's time.
    isolate: false,
    sequence: { sequencer: LongestFirst },
    // Meant for what hangs: a machine under load may take several times what a quiet one takes.
    testTimeout: 90_000,
    hookTimeout: 180_000,
    globalSetup: ["test/support/globalSetup.ts"]
  }
})
