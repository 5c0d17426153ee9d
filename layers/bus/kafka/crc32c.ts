/**
 * CRC-32C (Castagnoli), which guards Kafka's record batches; eight bytes at a time ("slicing by 8", Kounavis and Berry).
 * @module
 */

const POLYNOMIAL = 0x82f63b78

const tables: ReadonlyArray<Uint32Array> = Array.from({ length: 8 }, () => new Uint32Array(256))
for (let n = 0; n < 256; n++) {
  let crc = n
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  tables[0]![n] = crc
}
for (let n = 0; n < 256; n++) {
  for (let slice = 1; slice < 8; slice++) {
    const before = tables[slice - 1]![n]!
    tables[slice]![n] = (before >>> 8) ^ tables[0]![before & 0xff]!
  }
}
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as unknown as ReadonlyArray<Uint32Array> &
  [Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array]

/** Of the bytes from `from` to `to`, unsigned. */
export const crc32c = (bytes: Uint8Array, from = 0, to = bytes.length): number => {
  let crc = 0xffffffff
  let at = from
  for (const whole = to - 7; at < whole; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
    crc =
      t7[low & 0xff]! ^
      t6[(low >>> 8) & 0xff]! ^
      t5[(low >>> 16) & 0xff]! ^
      t4[low >>> 24]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]!) & 0xff]!
  return (crc ^ 0xffffffff) >>> 0
}
