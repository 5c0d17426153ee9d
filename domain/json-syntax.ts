/**
 * Where bytes stop being UTF-8, or JSON (RFC 8259). Run only when decoding has failed, to name the place.
 * @module
 */

/** The offset of the first byte that is not part of well-formed UTF-8, undefined when all are. */
export const utf8ErrorOffset = (bytes: Uint8Array): number | undefined => {
  const end = bytes.length
  let at = 0
  while (at < end) {
    const lead = bytes[at]!
    if (lead < 0x80) {
      at++
      continue
    }
    const length =
      lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0
    if (length === 0 || at + length > end) return at
    const second = bytes[at + 1]!
    const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80 // no overlong forms
    const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf // no surrogates, nothing above U+10FFFF
    if (second < lowest || second > highest) return at
    for (let index = 2; index < length; index++) {
      if ((bytes[at + index]! & 0xc0) !== 0x80) return at
    }
    at += length
  }
  return undefined
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 48 && byte <= 57
const isHexDigit = (byte: number | undefined): boolean =>
  byte !== undefined && (isDigit(byte) || ((byte | 32) >= 97 && (byte | 32) <= 102))
const isSpace = (byte: number | undefined): boolean => byte === 32 || byte === 10 || byte === 13 || byte === 9

/** A cursor over the bytes. Each method ends behind what it read, or returns false with `at` on the byte that is wrong. */
class Cursor {
  readonly bytes: Uint8Array
  at = 0
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.at = 3
  }
  byte(): number | undefined {
    return this.bytes[this.at]
  }
  space(): void {
    while (isSpace(this.byte())) this.at++
  }
  word(text: string): boolean {
    for (let index = 0; index < text.length; index++, this.at++) {
      if (this.byte() !== text.charCodeAt(index)) return false
    }
    return true
  }
  digits(): boolean {
    if (!isDigit(this.byte())) return false
    while (isDigit(this.byte())) this.at++
    return true
  }
  number(): boolean {
    if (this.byte() === 45) this.at++
    if (this.byte() === 48) this.at++
    else if (!this.digits()) return false
    if (this.byte() === 46) {
      this.at++
      if (!this.digits()) return false
    }
    if (this.byte() === 101 || this.byte() === 69) {
      this.at++
      if (this.byte() === 43 || this.byte() === 45) this.at++
      if (!this.digits()) return false
    }
    return true
  }
  string(): boolean {
    if (this.byte() !== 34) return false
    this.at++
    for (let byte = this.byte(); byte !== 34; byte = this.byte()) {
      if (byte === undefined || byte < 32) return false
      if (byte === 92) {
        this.at++
        const escape = this.byte()
        if (escape === 117) {
          for (let index = 0; index < 4; index++) {
            this.at++
            if (!isHexDigit(this.byte())) return false
          }
        } else if (escape === undefined || !'"\\/bfnrt'.includes(String.fromCharCode(escape))) return false
      }
      this.at++
    }
    this.at++
    return true
  }
  scalar(): boolean {
    switch (this.byte()) {
      case 34:
        return this.string()
      case 116:
        return this.word("true")
      case 102:
        return this.word("false")
      case 110:
        return this.word("null")
      default:
        return this.number()
    }
  }
  key(): boolean {
    this.space()
    if (!this.string()) return false
    this.space()
    if (this.byte() !== 58) return false
    this.at++
    return true
  }
}

/** The offset of the first byte at which the bytes, well-formed UTF-8, cease to be one JSON value; undefined when they are one. */
export const jsonErrorOffset = (bytes: Uint8Array): number | undefined => {
  const cursor = new Cursor(bytes)
  const closers: Array<number> = []
  for (;;) {
    cursor.space()
    const open = cursor.byte()
    if (open === 123 || open === 91) {
      cursor.at++
      cursor.space()
      const closer = open + 2
      if (cursor.byte() !== closer) {
        closers.push(closer)
        if (open === 123 && !cursor.key()) return cursor.at
        continue
      }
      cursor.at++
    } else if (!cursor.scalar()) return cursor.at
    for (;;) {
      cursor.space()
      const closer = closers.at(-1)
      if (closer === undefined) return cursor.byte() === undefined ? undefined : cursor.at
      if (cursor.byte() === 44) {
        cursor.at++
        if (closer === 125 && !cursor.key()) return cursor.at
        break
      }
      if (cursor.byte() !== closer) return cursor.at
      cursor.at++
      closers.pop()
    }
  }
}
