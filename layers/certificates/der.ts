/**
 * The little of ASN.1's DER encoding (X.690) that a revocation list is written in. The X.509 library compares each entry with
 * all others: 5,000 take it 5.7 s.
 * @module
 */
const lengthOf = (length: number): ReadonlyArray<number> => {
  if (length < 0x80) return [length]
  const bytes: Array<number> = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return [0x80 | bytes.length, ...bytes]
}

/** One value of that tag; of a constructed one, with the values in it. */
export const der = (tag: number, ...content: ReadonlyArray<Uint8Array>): Buffer => {
  const length = content.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([Buffer.from([tag, ...lengthOf(length)]), ...content])
}

export const sequence = (...content: ReadonlyArray<Uint8Array>) => der(0x30, ...content)
export const octets = (content: Uint8Array) => der(0x04, content)
export const bits = (content: Uint8Array) => der(0x03, Buffer.from([0]), content)
export const enumerated = (value: number) => der(0x0a, Buffer.from([value]))
export const critical = der(0x01, Buffer.from([0xff]))

/** Of hexadecimal digits, not negative. */
export const integer = (hex: string): Buffer => {
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex")
  return (bytes[0] ?? 0) >= 0x80 ? der(0x02, Buffer.from([0]), bytes) : der(0x02, bytes)
}

/** Of an object id in dotted form. */
export const objectId = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number)
  const bytes = [first * 40 + second]
  for (const arc of rest) {
    const digits = [arc % 128]
    for (let above = Math.floor(arc / 128); above > 0; above = Math.floor(above / 128))
      digits.unshift(0x80 | (above % 128))
    bytes.push(...digits)
  }
  return der(0x06, Buffer.from(bytes))
}

/** As RFC 5280 has times: UTCTime until 2049, GeneralizedTime from then on; whole seconds. */
export const time = (date: Date): Buffer => {
  const text = date.toISOString().replaceAll(/[-:T]|\.\d+/g, "")
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(text.slice(2))) : der(0x18, Buffer.from(text))
}
