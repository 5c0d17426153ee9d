/**
 * Kafka's default partitioner: murmur2 over the key's bytes, so that both adapters put a key into the same partition.
 * @module
 */

const M = 0x5bd1e995

/** The 32-bit hash of Kafka's `Utils.murmur2`, signed as in Java. */
export const murmur2 = (bytes: Uint8Array, from = 0, to = bytes.length): number => {
  const length = to - from
  let hash = 0x9747b28c ^ length
  const whole = to - (length & 3)
  let at = from
  for (; at < whole; at += 4) {
    let k = Math.imul(
      (bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24),
      M
    )
    k ^= k >>> 24
    hash = Math.imul(hash, M) ^ Math.imul(k, M)
  }
  const left = length & 3
  if (left === 3) hash ^= (bytes[at + 2] as number) << 16
  if (left >= 2) hash ^= (bytes[at + 1] as number) << 8
  if (left >= 1) hash = Math.imul(hash ^ (bytes[at] as number), M)
  hash = Math.imul(hash ^ (hash >>> 13), M)
  return hash ^ (hash >>> 15)
}

/** The partition Kafka's producer would choose for a key of these bytes. */
export const partitionOf = (partitions: number, bytes: Uint8Array, from = 0, to = bytes.length): number =>
  (murmur2(bytes, from, to) & 0x7fffffff) % partitions
