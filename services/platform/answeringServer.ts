/**
 * The server of HTTP behind all of a platform's ports: bounded in the time and the size of what a request may be.
 * @module
 */
import { createServer, type Server } from "node:http"

export interface RequestLimits {
  /** Until the headers are there; a connection without a request counts too. */
  readonly headersMillis: number
  /** Until the whole request is there, its body too. */
  readonly requestMillis: number
  readonly headerBytes: number
  /** How often connections are looked at. */
  readonly checkMillis: number
}

export const requestLimits: RequestLimits = {
  headersMillis: 20_000,
  requestMillis: 180_000,
  headerBytes: 16_384,
  checkMillis: 5_000
}

/**
 * Node refuses what could be understood in two ways (lengths that contradict one another, or a chunked body) with 400 and
 * closes the connection. A server that listens before its routes are built, and for a moment after they are gone, would leave
 * requests unanswered: they are answered with 503.
 */
export const answeringServer = (limits: RequestLimits = requestLimits): Server => {
  const server = createServer({
    headersTimeout: limits.headersMillis,
    requestTimeout: limits.requestMillis,
    maxHeaderSize: limits.headerBytes,
    connectionsCheckingInterval: limits.checkMillis,
    insecureHTTPParser: false,
    requireHostHeader: true
  })
  server.on("request", (_, response) => {
    if (server.listenerCount("request") === 1) response.writeHead(503, { "retry-after": "1" }).end()
  })
  return server
}
