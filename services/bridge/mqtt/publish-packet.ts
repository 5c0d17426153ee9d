/**
 * Reads a PUBLISH packet, the one packet whose cost is paid per message. All others are left to mqtt-packet.
 * @module
 */

export interface PublishPacket {
  readonly qos: number
  /** Bytes of the topic name as sent; they may be no UTF-8. */
  readonly topic: Buffer
  /** 0 with QoS 0. */
  readonly packetId: number
  readonly contentType: string | undefined
  readonly payload: Buffer
  /** The user property of that name, as it was sent. */
  readonly traceparent: string | undefined
}

/** Sizes of the properties that MQTT 5 allows in a PUBLISH; negative: a length of two bytes before each of so many parts. */
const propertySizes: Readonly<Record<number, number>> = {
  0x01: 1, // payload format
  0x02: 4, // message expiry
  0x03: -1, // content type
  0x08: -1, // response topic
  0x09: -1, // correlation data
  0x26: -2 // user property
}
const CONTENT_TYPE = 0x03
const USER_PROPERTY = 0x26
const TRACEPARENT = Buffer.from("traceparent")

/** Undefined: malformed, or it uses a topic alias or a subscription identifier, which the server has not offered. */
export const readPublish = (header: number, body: Buffer, protocolVersion: number): PublishPacket | undefined => {
  const qos = (header >> 1) & 3
  if (qos === 3 || body.length < 2) return undefined
  const topicEnd = 2 + body.readUInt16BE(0)
  let at = topicEnd
  let packetId = 0
  if (qos > 0) {
    if (body.length < topicEnd + 2) return undefined
    packetId = body.readUInt16BE(topicEnd)
    if (packetId === 0) return undefined
    at += 2
  }
  if (at > body.length) return undefined
  let contentType: string | undefined
  let traceparent: string | undefined
  if (protocolVersion === 5) {
    let length = 0
    let shift = 0
    for (;;) {
      if (at >= body.length || shift === 28) return undefined
      const byte = body[at++]!
      length += (byte & 0x7f) << shift
      shift += 7
      if ((byte & 0x80) === 0) break
    }
    const end = at + length
    if (end > body.length) return undefined
    while (at < end) {
      const property = body[at++]!
      const size = propertySizes[property]
      if (size === undefined) return undefined
      if (size > 0) at += size
      let isTraceparent = false
      for (let part = size; part < 0; part++) {
        if (at + 2 > end) return undefined
        const start = at + 2
        at = start + body.readUInt16BE(at)
        if (at > end) return undefined
        if (property === CONTENT_TYPE) contentType = body.toString("utf8", start, at)
        else if (property === USER_PROPERTY) {
          if (part === -2) isTraceparent = TRACEPARENT.equals(body.subarray(start, at))
          else if (isTraceparent) traceparent = body.toString("latin1", start, at)
        }
      }
    }
    if (at !== end) return undefined
  }
  return { qos, topic: body.subarray(2, topicEnd), packetId, contentType, payload: body.subarray(at), traceparent }
}
