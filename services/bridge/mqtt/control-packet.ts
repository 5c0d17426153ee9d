/**
 * Reads the packets that come seldom, with mqtt-packet.
 * @module
 */
import mqtt, { type Packet } from "mqtt-packet"

/** Any packet but PUBLISH, from its first byte and body; undefined when malformed. */
export const readControlPacket = (header: number, body: Buffer, protocolVersion: number): Packet | undefined => {
  let decoded: Packet | undefined
  let failed = false
  const parser = mqtt.parser({ protocolVersion })
  parser.on("packet", (packet) => (decoded ??= packet))
  parser.on("error", () => (failed = true))
  try {
    parser.parse(Buffer.concat([fixedHeader(header, body.length), body]))
  } catch {
    return undefined // mqtt-packet throws on some malformed properties
  }
  return failed ? undefined : decoded
}

const fixedHeader = (header: number, length: number) => {
  const bytes = [header]
  let rest = length
  do {
    const low = rest % 128
    rest = Math.floor(rest / 128)
    bytes.push(rest > 0 ? low | 0x80 : low)
  } while (rest > 0)
  return Buffer.from(bytes)
}
