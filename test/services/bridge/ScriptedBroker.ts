/**
 * A broker that says exactly what a test wants, and keeps what the bridge says to it.
 */
import { Effect } from "effect"
import { createServer, type Socket } from "node:net"

export interface ScriptedConnection {
  readonly socket: Socket
  /** All that the bridge has sent on it, as packets: first byte and body. */
  readonly packets: Array<{ readonly header: number; readonly body: Buffer }>
}

/** Answers a packet of the bridge. */
export type Script = (packet: ScriptedConnection["packets"][number], connection: ScriptedConnection) => void

const readLength = (bytes: Buffer): { readonly length: number; readonly at: number } | undefined => {
  let length = 0
  for (let at = 1; at < Math.min(5, bytes.length); at++) {
    length += (bytes[at]! & 127) * 128 ** (at - 1)
    if (bytes[at]! < 128) return { length, at: at + 1 }
  }
  return undefined
}

export const scriptedBroker = (script: Script) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly connections: Array<ScriptedConnection>; close(): void }>(
      (resume) => {
        const connections: Array<ScriptedConnection> = []
        const server = createServer((socket) => {
          const connection: ScriptedConnection = { socket, packets: [] }
          connections.push(connection)
          let rest = Buffer.alloc(0)
          socket.on("error", () => {})
          socket.on("data", (chunk) => {
            rest = Buffer.concat([rest, chunk])
            for (let size = readLength(rest); size !== undefined; size = readLength(rest)) {
              const end = size.at + size.length
              if (rest.length < end) return
              const packet = { header: rest[0]!, body: rest.subarray(size.at, end) }
              rest = rest.subarray(end)
              connection.packets.push(packet)
              script(packet, connection)
            }
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          const close = () => {
            server.close()
            for (const { socket } of connections) socket.destroy()
          }
          resume(Effect.succeed({ port, connections, close }))
        })
      }
    ),
    ({ close }) => Effect.sync(close)
  )

export const CONNECT = 0x10
export const SUBSCRIBE = 0x82

/** Accepts the connection and grants every subscription, as MQTT 5. */
export const agreeing: Script = ({ body, header }, { socket }) => {
  if (header === CONNECT) socket.write(Buffer.from([0x20, 3, 0, 0, 0]))
  if (header === SUBSCRIBE) socket.write(Buffer.from([0x90, 5, body[0]!, body[1]!, 0, 1, 1]))
}
