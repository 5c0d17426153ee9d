/**
 * What is done to a cluster under load: SIGKILLs of everything it consists of, and processes that stand still past their Kafka
 * session and then go on.
 * @module
 */
import { type ServiceName } from "@argusiq/platform/services.ts"
import { setTimeout as sleep } from "node:timers/promises"
import { eventually } from "../support/PlatformProcess.ts"
import { type ClusterLoad, type ClusterReport, ClusterUnderLoad } from "./ClusterUnderLoad.ts"
import { describeKill, type Kill } from "./kills.ts"
import { total } from "./ledger.ts"

/** Of the services that share a process, one. */
const processVictims = ["bridge", "dispatcher", "telemetry-writer", "api"] as const satisfies ReadonlyArray<ServiceName>
type ProcessVictim = (typeof processVictims)[number]
export type ClusterVictim = ProcessVictim | "postgres" | "redis" | "kafka"

const isProcess = (victim: ClusterVictim): victim is ProcessVictim =>
  processVictims.some((service) => service === victim)

export interface ClusterKillPlan extends ClusterLoad {
  /** How often each is killed; in which order is chance. */
  readonly kills: Readonly<Partial<Record<ClusterVictim, number>>>
  /** The least and the most time between two kills. */
  readonly pauseMillis: readonly [number, number]
  /** Both processes at once, each time amid its work; otherwise one, half the time amid its work. */
  readonly harsh?: boolean
  /** Kills after which a version of the devices' type is published. */
  readonly versionEvery?: number
}

export interface ClusterKillReport extends ClusterReport {
  readonly kills: ReadonlyArray<Kill>
}

type Print = (line: string) => void

const shuffled = <A>(items: ReadonlyArray<A>, random: () => number): ReadonlyArray<A> =>
  items
    .map((item) => ({ item, at: random() }))
    .toSorted((one, other) => one.at - other.at)
    .map(({ item }) => item)

const between = ([least, most]: readonly [number, number], random: () => number) => least + random() * (most - least)

const strikeOf = (
  world: ClusterUnderLoad,
  victim: ClusterVictim,
  harsh: boolean
): readonly [string, () => Promise<void>] => {
  const { random } = world
  if (isProcess(victim)) {
    const amidWork = harsh || random() < 0.5
    const both = world.cluster.both(victim)
    const processes = harsh ? both : [both[random() < 0.5 ? 0 : 1]]
    const name = `${victim}${harsh ? " (both)" : ""}${amidWork ? " amid work" : ""}`
    return [name, () => world.killProcesses(victim, processes, amidWork)]
  }
  const downMillis = between([0, 3_000], random)
  if (victim === "kafka") return [victim, () => world.killKafka(downMillis)]
  if (victim === "redis") return [victim, () => world.killRedis(downMillis)]
  return [victim, () => world.killPostgres()]
}

export const runClusterKills = async (
  plan: ClusterKillPlan,
  print: Print = console.log
): Promise<ClusterKillReport> => {
  const kills: Array<Kill> = []
  const report = await ClusterUnderLoad.run(plan, async (world) => {
    const { random } = world
    const victims = shuffled(
      Object.entries(plan.kills).flatMap(([victim, times]) =>
        Array<ClusterVictim>(times).fill(victim as ClusterVictim)
      ),
      random
    )
    for (const victim of victims) {
      await sleep(between(plan.pauseMillis, random))
      const kill = await world.kill(...strikeOf(world, victim, plan.harsh === true))
      kills.push(kill)
      print(`kill ${kills.length} ${describeKill(kill)}`)
      if (plan.versionEvery !== undefined && kills.length % plan.versionEvery === 0) await world.publishVersion()
    }
  })
  return { ...report, kills }
}

export interface ClusterFreezePlan extends ClusterLoad {
  readonly rounds: number
  /** Of each, one of the two processes a round. */
  readonly services: ReadonlyArray<ServiceName>
  /** Longer than the session of a member of a Kafka group. */
  readonly frozenMillis: number
}

/** Within it the other process works alone on what was the frozen one's. */
const STORING_MILLIS = 4_000

export const runClusterFreezes = async (
  plan: ClusterFreezePlan,
  print: Print = console.log
): Promise<ClusterKillReport> => {
  const kills: Array<Kill> = []
  const report = await ClusterUnderLoad.run(plan, async (world) => {
    const { random } = world
    for (let round = 0; round < plan.rounds; round++) {
      const chosen = plan.services.map((service) => {
        const [one, other] = world.cluster.both(service)
        return random() < 0.5 ? { service, frozen: one, left: other } : { service, frozen: other, left: one }
      })
      await sleep(between([2_000, 5_000], random))
      const before = await world.storedCount()
      const freezing: Array<Promise<void>> = []
      for (const { frozen, service } of chosen) {
        const done = world.freezeProcess(service, frozen, plan.frozenMillis)
        freezing.push(done)
        // One stall of what they write to at a time.
        await sleep(1_500)
      }
      await world.publishVersion()
      await Promise.all(freezing)
      print(
        `round ${round + 1}: froze ${plan.services.join(", ")}; ${(await world.storedCount()) - before} stored meanwhile`
      )
      await sleep(STORING_MILLIS)
      for (const { left, service } of chosen) {
        const kill = await world.kill(service, () => world.killProcesses(service, [left], false))
        kills.push(kill)
        print(`kill ${kills.length} ${describeKill(kill)}`)
      }
      // Else the next round would freeze and kill processes that do nothing but wait for the session of those killed here.
      const acknowledged = total(world.book().acknowledged)
      await eventually("storing what was acknowledged until the end of a round", 240, async () =>
        (await world.storedCount()) >= acknowledged ? true : undefined
      )
    }
  })
  return { ...report, kills }
}
