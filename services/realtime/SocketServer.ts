/**
 * The server of Socket.IO: what it accepts before anything is known of who connects.
 * @module
 */
import { Server } from "socket.io"
import type { LiveServer } from "./Audience.ts"
import { isOriginAllowed, PATH } from "./door.ts"
import type { Counts } from "./metrics.ts"
import type { Settings } from "./settings.ts"

/** The largest message of a client; a token is what takes most of it. */
const MAX_MESSAGE_BYTES = 16_384

export const makeServer = ({ maxConnections, origins }: Settings, counts: Counts): LiveServer => {
  const io: LiveServer = new Server({
    path: PATH,
    serveClient: false,
    maxHttpBufferSize: MAX_MESSAGE_BYTES,
    connectTimeout: 10_000,
    pingInterval: 20_000,
    pingTimeout: 15_000,
    perMessageDeflate: false,
    httpCompression: false,
    destroyUpgrade: false,
    cors: { origin: [...origins], methods: ["GET", "POST"] },
    allowRequest: ({ headers }, answer) => {
      const refuse = (reason: string, message: string) => {
        counts.refuse(reason)
        answer(message, false)
      }
      if (!isOriginAllowed(headers.origin, headers.host, origins)) {
        return refuse("origin", `Pages of ${headers.origin} may not connect: name it in REALTIME_ORIGINS.`)
      }
      if (io.engine.clientsCount >= maxConnections) {
        return refuse("too-many-connections", "This process has as many connections as it may.")
      }
      answer(undefined, true)
    }
  })
  return io
}
