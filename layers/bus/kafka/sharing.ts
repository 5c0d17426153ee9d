/**
 * How the members of a group share the partitions, decided by the one that Kafka has made leader: evenly by topic, each
 * keeping what it has, and nothing given to a member before another has let go of it ("cooperative sticky", KIP-429).
 * @module
 */

export interface Claim {
  readonly memberId: string
  readonly topics: ReadonlyArray<string>
  /** By topic, what it has by the generation that it last belonged to. */
  readonly owned: Readonly<Record<string, ReadonlyArray<number>>>
  readonly generation: number
}

/** By member, its partitions by topic. */
export type Shares = ReadonlyMap<string, Record<string, Array<number>>>

/** @param together see `Subscription.together` */
export const share = (
  claims: ReadonlyArray<Claim>,
  partitionsOf: (topic: string) => number,
  together = false
): Shares => {
  const shares = new Map(claims.map(({ memberId }) => [memberId, {} as Record<string, Array<number>>]))
  const topics = [...new Set(claims.flatMap((claim) => claim.topics))].toSorted()
  const sharesOf = together ? shareNumbers(topics, claims, partitionsOf) : undefined
  topics.forEach((topic, index) => {
    const members = claims.filter((claim) => claim.topics.includes(topic))
    const owners = ownersOf(topic, members, partitionsOf(topic))
    const shared = sharesOf?.(topic, owners) ?? shareOut(owners, index, members, partitionsOf(topic))
    for (const [memberId, partitions] of shared) {
      if (partitions.length > 0) shares.get(memberId)![topic] = partitions
    }
  })
  return shares
}

/** Shares partition numbers instead of partitions: by what a member has of the first topic of which anybody has the number. */
const shareNumbers = (
  topics: ReadonlyArray<string>,
  claims: ReadonlyArray<Claim>,
  partitionsOf: (topic: string) => number
) => {
  const count = Math.max(0, ...topics.map(partitionsOf))
  const owners = new Map(topics.toReversed().flatMap((topic) => [...ownersOf(topic, claims, partitionsOf(topic))]))
  const numbers = shareOut(owners, 0, claims, count)
  /** Without the partitions that another has still to let go of. */
  return (topic: string, present: ReadonlyMap<number, string>) =>
    new Map(
      Array.from(numbers, ([memberId, partitions]) => [
        memberId,
        partitions.filter(
          (partition) => partition < partitionsOf(topic) && (present.get(partition) ?? memberId) === memberId
        )
      ])
    )
}

const shareOut = (
  owners: ReadonlyMap<number, string>,
  index: number,
  members: ReadonlyArray<Claim>,
  count: number
): ReadonlyMap<string, Array<number>> => {
  const held = Map.groupBy(owners.keys(), (partition) => owners.get(partition) as string)
  // Whoever has most keeps one more where they do not divide; where none has any, another begins with each topic.
  const order = members
    .toSorted((one, other) => (one.memberId < other.memberId ? -1 : 1))
    .map((claim, position, all) => ({ ...claim, turn: (position + index) % all.length }))
    .toSorted(
      (one, other) =>
        (held.get(other.memberId)?.length ?? 0) - (held.get(one.memberId)?.length ?? 0) || one.turn - other.turn
    )
  const least = Math.floor(count / members.length)
  const result = new Map<string, Array<number>>()
  const wanting: Array<{ readonly partitions: Array<number>; readonly quota: number }> = []
  order.forEach(({ memberId }, position) => {
    const quota = position < count % members.length ? least + 1 : least
    const partitions = (held.get(memberId) ?? []).slice(0, quota)
    result.set(memberId, partitions)
    wanting.push({ partitions, quota })
  })
  for (let partition = 0; partition < count; partition++) {
    if (owners.has(partition)) continue
    wanting.find(({ partitions, quota }) => partitions.length < quota)?.partitions.push(partition)
  }
  return result
}

/** Where two claim a partition, the one that heard of the group last. */
const ownersOf = (topic: string, members: ReadonlyArray<Claim>, count: number): ReadonlyMap<number, string> => {
  const owners = new Map<number, string>()
  for (const { memberId, owned } of members.toSorted((one, other) => one.generation - other.generation)) {
    for (const partition of owned[topic] ?? []) if (partition < count) owners.set(partition, memberId)
  }
  return owners
}
