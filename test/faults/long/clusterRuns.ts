/**
 * The long fault runs on Kafka: two processes of each service under load, and what the ledger has to notice with a safeguard
 * off.
 * @module
 */
import { type SafeguardSwitches } from "@argusiq/layers/Safeguards.ts"
import { type ClusterKillPlan, type ClusterKillReport, runClusterFreezes, runClusterKills } from "../clusterFaults.ts"
import { type Verdict } from "../ledger.ts"
import { runKafkaBrokers } from "./kafka-brokers.ts"
import { atLeast, atMost, counted, type Outcome, type Run, spotless, stagesHit } from "./outcome.ts"

const load = { overMqtt: 40, overHttp: 4, messagesPerSecond: 500 } as const
/** Past the 30 s after which Kafka gives a member up. */
const FROZEN_MILLIS = 36_000

/** 54 kills of platform processes, PostgreSQL and Redis, and 10 of Kafka. */
const everything = {
  bridge: 8,
  dispatcher: 9,
  "telemetry-writer": 9,
  api: 4,
  postgres: 12,
  redis: 12,
  kafka: 10
} as const

const factsOf = (report: ClusterKillReport) =>
  `${report.sent} sent, ${report.acknowledged} acknowledged, ${report.stored} stored, ${report.repeatedByDevices} repeated ` +
  `by devices, ${report.redelivered} by stages, ${report.versions} versions of the type published; ${counted(report.verdict)}`

const survivors = ({ endedByThemselves }: ClusterKillReport) =>
  endedByThemselves.map((log) => `a process ended by itself: ${log}`)

const kills = (seed: number) => async (): Promise<Outcome> => {
  const report = await runClusterKills({
    ...load,
    seed,
    kills: everything,
    pauseMillis: [1_000, 5_000],
    versionEvery: 6
  })
  const { hits, faults } = stagesHit(report.kills)
  const victims = Object.entries(everything).map(([victim, times]) => `${victim} ${times}`)
  return {
    faults: [...spotless(report.verdict), ...survivors(report), ...faults],
    facts: `${report.kills.length} kills (${victims.join(", ")}); ${factsOf(report)}; hits ${hits}`
  }
}

const freezes = (seed: number) => async (): Promise<Outcome> => {
  const report = await runClusterFreezes({
    ...load,
    seed,
    rounds: 4,
    services: ["bridge", "dispatcher", "telemetry-writer"],
    frozenMillis: FROZEN_MILLIS
  })
  return { faults: [...spotless(report.verdict), ...survivors(report)], facts: factsOf(report) }
}

/** Kills with a safeguard off: the ledger has to notice. */
const control =
  (seed: number, unsafe: keyof SafeguardSwitches, notices: keyof Verdict, victims: ClusterKillPlan["kills"]) =>
  async (): Promise<Outcome> => {
    const report = await runClusterKills({
      ...load,
      seed,
      unsafe: [unsafe],
      kills: victims,
      pauseMillis: [5_000, 10_000],
      harsh: true
    })
    return {
      faults: atLeast(`${notices}, which the ledger should have noticed`, report.verdict[notices].length, 1),
      facts: factsOf(report)
    }
  }

const brokers = (seed: number) => async (): Promise<Outcome> => {
  const { verdict, ...report } = await runKafkaBrokers({ seconds: 240, seed })
  return {
    faults: [
      ...atMost("records missing", verdict.missing, 0),
      ...atMost("records doubled", verdict.doubled, 0),
      ...atMost("records out of order", verdict.outOfOrder, 0)
    ],
    facts:
      `${report.published} published, ${report.brokersKilled} brokers killed and ${report.brokersFrozen} frozen, ` +
      `${report.membersKilled} members killed and ${report.membersFrozen} frozen; ${verdict.missing} missing, ` +
      `${verdict.doubled} doubled, ${verdict.outOfOrder} out of order`
  }
}

export const clusterRuns = (seed: number): ReadonlyArray<Run> => [
  { name: "kafka-kills", shows: "54 kills and 10 of Kafka lose, double and reorder nothing", run: kills(seed) },
  { name: "kafka-freeze", shows: "processes come back from a pause past their session", run: freezes(seed) },
  { name: "kafka-brokers", shows: "one of three brokers at a time is killed or frozen", run: brokers(seed) },
  {
    name: "kafka-control-deduplication",
    shows: "is noticed",
    run: control(seed, "deduplicateReadings", "doubled", { dispatcher: 2, bridge: 1 })
  },
  {
    name: "kafka-control-offset",
    shows: "is noticed",
    run: control(seed, "offsetWithRows", "lost", { "telemetry-writer": 4 })
  },
  {
    name: "kafka-control-flush",
    shows: "is noticed",
    run: control(seed, "acknowledgeAfterFlush", "lost", { bridge: 3 })
  }
]
