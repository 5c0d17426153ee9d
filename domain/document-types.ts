/**
 * Which files may be kept, told by their name's extension and by what they begin with: never by what their sender says.
 * @module
 */
import { Result } from "effect"

/** Of one document. */
export const MAX_DOCUMENT_BYTES = 26_214_400

const ascii = (text: string) => [...text].map((character) => character.charCodeAt(0))
const begins = (bytes: Uint8Array, signature: ReadonlyArray<number>, at = 0): boolean =>
  signature.every((byte, index) => bytes[at + index] === byte)

const utf8 = new TextDecoder("utf-8", { fatal: true })
const isText = (bytes: Uint8Array): boolean => {
  if (bytes.includes(0)) return false
  try {
    utf8.decode(bytes)
    return true
  } catch {
    return false
  }
}
const isZip = (bytes: Uint8Array) => begins(bytes, [0x50, 0x4b, 0x03, 0x04])
const isJpeg = (bytes: Uint8Array) => begins(bytes, [0xff, 0xd8, 0xff])
const office = "application/vnd.openxmlformats-officedocument"

interface DocumentType {
  readonly mediaType: string
  readonly isOne: (bytes: Uint8Array) => boolean
}
/** Nothing that a browser would run: no HTML and no SVG. */
const types: Readonly<Record<string, DocumentType>> = {
  pdf: { mediaType: "application/pdf", isOne: (bytes) => begins(bytes, ascii("%PDF-")) },
  png: { mediaType: "image/png", isOne: (bytes) => begins(bytes, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]) },
  jpg: { mediaType: "image/jpeg", isOne: isJpeg },
  jpeg: { mediaType: "image/jpeg", isOne: isJpeg },
  gif: { mediaType: "image/gif", isOne: (bytes) => begins(bytes, ascii("GIF8")) },
  webp: {
    mediaType: "image/webp",
    isOne: (bytes) => begins(bytes, ascii("RIFF")) && begins(bytes, ascii("WEBP"), 8)
  },
  txt: { mediaType: "text/plain", isOne: isText },
  md: { mediaType: "text/markdown", isOne: isText },
  csv: { mediaType: "text/csv", isOne: isText },
  docx: { mediaType: `${office}.wordprocessingml.document`, isOne: isZip },
  xlsx: { mediaType: `${office}.spreadsheetml.sheet`, isOne: isZip },
  pptx: { mediaType: `${office}.presentationml.presentation`, isOne: isZip },
  zip: { mediaType: "application/zip", isOne: isZip }
}
const extensions = Object.keys(types).join(", ")

/** Every media type that a kept file can have. */
export const documentMediaTypes: ReadonlyArray<string> = [
  ...new Set(Object.values(types).map(({ mediaType }) => mediaType))
]

export interface DocumentFault {
  readonly path: "query.name" | "body"
  readonly message: string
}

/** The media type of a file, or why it is not kept. */
export const documentTypeOf = (name: string, bytes: Uint8Array): Result.Result<string, DocumentFault> => {
  const extension = /\.([A-Za-z0-9]+)$/.exec(name)?.[1]?.toLowerCase() ?? ""
  const type = Object.hasOwn(types, extension) ? types[extension] : undefined
  if (type === undefined) {
    return Result.fail({
      path: "query.name",
      message: `must end in one of ${extensions}; ${JSON.stringify(name)} does not`
    })
  }
  if (bytes.length === 0) return Result.fail({ path: "body", message: "is empty" })
  if (type.isOne(bytes)) return Result.succeed(type.mediaType)
  return Result.fail({ path: "body", message: `is no ${extension} file, whatever its name says` })
}

/** Downloads are saved, never shown by the browser in the platform's name; RFC 6266 with the name in UTF-8 and a plain stand-in. */
export const contentDisposition = (name: string): string => {
  const plain = name.replaceAll(/[^\w. -]/g, "_")
  const encoded = encodeURIComponent(name).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`
  )
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}
