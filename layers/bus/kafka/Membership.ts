/**
 * Belonging to a consumer group: joining it, staying in it, and learning which partitions are whose. Partitions that stay
 * with a member are read on while others move.
 * @module
 */
import { Effect, Fiber, Semaphore } from "effect"
import { AssignerProtocol } from "kafkajs"
import { type Connection, isAnswer } from "./Connection.ts"
import { type Broker, typeOf } from "./kafkajs.ts"
import { type Claim, share } from "./sharing.ts"

/** `topic/partition`, the topic as Kafka knows it. */
export type Key = string
export const keyOf = (topic: string, partition: number): Key => `${topic}/${partition}`

export interface MembershipOptions {
  readonly groupId: string
  /** As Kafka knows them, with their partitions. */
  readonly topics: ReadonlyMap<string, number>
  /** {@link Subscription.together} */
  readonly together: boolean
  /** Without a sign of life for so long a member has left. */
  readonly sessionMillis: number
  /** To let go of; the group waits until it completes. */
  readonly revoke: (lost: ReadonlySet<Key>) => Effect.Effect<void>
  /** All that the member has, at each change. */
  readonly assign: (owned: ReadonlySet<Key>) => Effect.Effect<void>
}

export interface Offset {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

const PROTOCOL = "argusiq-cooperative-sticky"
const outsider = new Set(["UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "FENCED_INSTANCE_ID"])
const REBALANCING = "REBALANCE_IN_PROGRESS"

/** The group has changed, or this member is not of it any more. */
type Change = "rebalance" | "lost"

export class Membership {
  readonly #connection: Connection
  readonly #options: MembershipOptions
  /** Requests to the coordinator are made one at a time: what a commit says holds for the generation it is made in. */
  readonly #turn = Semaphore.makeUnsafe(1)
  #memberId = ""
  #generation = -1
  #owned: ReadonlySet<Key> = new Set()
  #aliveAt = performance.now()
  /** Known until a request of it fails. */
  #coordinator: Broker | undefined

  constructor(connection: Connection, options: MembershipOptions) {
    this.#connection = connection
    this.#options = options
  }

  get isMember(): boolean {
    return this.#memberId !== ""
  }

  /** Runs until interrupted. `failed` hears of what goes wrong; it is tried again. */
  run(failed: (error: unknown) => Effect.Effect<void>): Effect.Effect<never> {
    return Effect.gen({ self: this }, function* () {
      let attempt = 0
      while (true) {
        const exit = yield* Effect.result(this.#belong)
        if (exit._tag === "Success") {
          attempt = 0
          if (exit.success === "lost") yield* this.#loseAll()
          continue
        }
        const error = exit.failure
        yield* failed(error)
        if (outsider.has(typeOf(error))) yield* this.#loseAll()
        else if (performance.now() - this.#aliveAt > this.#options.sessionMillis) yield* this.#loseAll()
        yield* Effect.promise(() => this.#connection.recover(error))
        yield* Effect.sleep(Math.min(2_000, 50 * 2 ** attempt++))
      }
    })
  }

  /** One generation of the group, until it is over. Who has begun to join waits for its id, without which it could not leave. */
  readonly #belong: Effect.Effect<Change, unknown> = Effect.gen({ self: this }, function* () {
    const owned = yield* Effect.uninterruptible(this.#ask(() => this.#join()))
    const lost = new Set([...this.#owned].filter((key) => !owned.has(key)))
    const beating = yield* Effect.forkChild(this.#beat)
    if (lost.size > 0) yield* this.#options.revoke(lost)
    this.#owned = owned
    yield* this.#options.assign(owned)
    // What was let go can be given to others once the group is told.
    if (lost.size === 0) return yield* Fiber.join(beating)
    yield* Fiber.interrupt(beating)
    return "rebalance"
  })

  async #join(): Promise<ReadonlySet<Key>> {
    const { groupId, topics, sessionMillis } = this.#options
    const coordinator = await this.#findCoordinator()
    const metadata = AssignerProtocol.MemberMetadata.encode({
      version: 1,
      topics: [...topics.keys()],
      userData: Buffer.from(JSON.stringify({ owned: byTopic(this.#owned), generation: this.#generation }))
    })
    const joined = await coordinator.joinGroup({
      groupId,
      memberId: this.#memberId,
      sessionTimeout: sessionMillis,
      rebalanceTimeout: sessionMillis,
      groupProtocols: [{ name: PROTOCOL, metadata }]
    })
    this.#memberId = joined.memberId
    const { generationId: generation, memberId } = joined
    const groupAssignment = joined.leaderId === memberId ? this.#share(joined.members) : []
    const { memberAssignment } = await coordinator.syncGroup({
      groupId,
      generationId: generation,
      memberId,
      groupAssignment
    })
    this.#generation = generation
    this.#aliveAt = performance.now()
    const assignment = AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {}
    return new Set(
      Object.entries(assignment).flatMap(([topic, partitions]) =>
        topics.has(topic) ? partitions.map((partition) => keyOf(topic, partition)) : []
      )
    )
  }

  #share(members: ReadonlyArray<{ readonly memberId: string; readonly memberMetadata: Buffer }>) {
    const claims = members.map(({ memberId, memberMetadata }): Claim => {
      const metadata = AssignerProtocol.MemberMetadata.decode(memberMetadata)
      const known = JSON.parse(metadata?.userData.toString() || "{}") as Partial<Claim>
      return {
        memberId,
        topics: metadata?.topics ?? [],
        owned: known.owned ?? {},
        generation: known.generation ?? -1
      }
    })
    const shares = share(claims, (topic) => this.#options.topics.get(topic) ?? 0, this.#options.together)
    return Array.from(shares, ([memberId, assignment]) => ({
      memberId,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 1, assignment, userData: Buffer.alloc(0) })
    }))
  }

  /** Signs of life; ends when the group changes. Fails where none has been taken for a whole session. */
  readonly #beat: Effect.Effect<Change, unknown> = Effect.gen({ self: this }, function* () {
    const { sessionMillis } = this.#options
    while (true) {
      yield* Effect.sleep(Math.min(1_000, sessionMillis / 10))
      // A pause of the whole process: by now others have what was ours.
      if (performance.now() - this.#aliveAt > sessionMillis) return "lost"
      const result = yield* Effect.result(this.#ask(() => this.#beatOnce()))
      if (result._tag === "Success") {
        this.#aliveAt = performance.now()
        continue
      }
      const type = typeOf(result.failure)
      if (type === REBALANCING) return "rebalance"
      if (outsider.has(type)) return "lost"
      if (!isAnswer(result.failure)) yield* Effect.promise(() => this.#connection.recover(result.failure))
    }
  })

  async #beatOnce(): Promise<void> {
    const { groupId } = this.#options
    const coordinator = await this.#findCoordinator()
    await coordinator.heartbeat({ groupId, groupGenerationId: this.#generation, memberId: this.#memberId })
  }

  async #findCoordinator(): Promise<Broker> {
    this.#coordinator ??= await this.#connection.coordinator(this.#options.groupId)
    return this.#coordinator
  }

  /** A request to the coordinator, alone. */
  #ask<A>(request: () => Promise<A>): Effect.Effect<A, unknown> {
    const forget = (error: unknown) => {
      this.#coordinator = undefined
      return error
    }
    return this.#turn.withPermit(Effect.tryPromise({ try: request, catch: forget }))
  }

  #loseAll(): Effect.Effect<void> {
    const lost = this.#owned
    this.#owned = new Set()
    this.#memberId = ""
    this.#generation = -1
    return lost.size === 0 ? Effect.void : this.#options.revoke(lost)
  }

  /** On behalf of the group as this member knows it; refused when it is not of it any more. */
  commit(offsets: ReadonlyArray<Offset>): Effect.Effect<void, unknown> {
    return this.#ask(async () => {
      const coordinator = await this.#findCoordinator()
      await commitOffsets(coordinator, this.#options.groupId, this.#generation, this.#memberId, offsets)
      this.#aliveAt = performance.now()
    })
  }

  /** So that the others need not wait for the session to end. */
  readonly leave: Effect.Effect<unknown, unknown> = Effect.suspend(() => {
    const { groupId } = this.#options
    const memberId = this.#memberId
    if (memberId === "") return Effect.void
    return this.#ask(async () => (await this.#findCoordinator()).leaveGroup({ groupId, memberId }))
  })
}

/** `memberId` empty and `generation` -1: from outside, which Kafka allows while the group has no members. */
export const commitOffsets = (
  coordinator: Broker,
  groupId: string,
  generation: number,
  memberId: string,
  offsets: ReadonlyArray<Offset>
): Promise<unknown> =>
  coordinator.offsetCommit({
    groupId,
    groupGenerationId: generation,
    memberId,
    topics: Array.from(
      Map.groupBy(offsets, ({ topic }) => topic),
      ([topic, partitions]) => ({
        topic,
        partitions: partitions.map(({ partition, offset }) => ({ partition, offset: String(offset) }))
      })
    )
  })

const byTopic = (keys: ReadonlySet<Key>): Record<string, Array<number>> => {
  const topics: Record<string, Array<number>> = {}
  for (const key of keys) {
    const at = key.lastIndexOf("/")
    const partitions = (topics[key.slice(0, at)] ??= [])
    partitions.push(Number(key.slice(at + 1)))
  }
  return topics
}
