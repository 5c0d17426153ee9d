/**
 * Who gets a live connection.
 * @module
 */
import type { Caller } from "@argusiq/domain/http/security.ts"
import type { Fault } from "@argusiq/domain/realtime/requests.ts"
import { type Audience, type LiveServer, type LiveSocket, SLOW_ROOM } from "./Audience.ts"
import { type Behind, Connection } from "./Connection.ts"
import type { Elsewhere } from "./cluster.ts"
import { tokenOf } from "./door.ts"
import type { Counts } from "./metrics.ts"
import { Outbox, type Transporting } from "./Outbox.ts"
import type { Settings } from "./settings.ts"

/** Time for a refused client to be told, in milliseconds. */
const FAREWELL_MILLIS = 1_000

class Refused extends Error {
  /** What the client gets as `data` of its `connect_error`. */
  readonly data: Fault
  constructor(data: Fault) {
    super(data.message)
    this.data = data
  }
}

export interface Admission {
  readonly io: LiveServer
  readonly audience: Audience
  readonly elsewhere: Elsewhere
  readonly limits: Settings
  readonly counts: Counts
  readonly behind: Behind
}

/** Where the caller is at a limit, in words; undefined where it is not. */
const tooMany = ({ tenantId, userId }: Caller, { audience, elsewhere, limits }: Admission): string | undefined => {
  const { tenants, users } = audience.numbers
  if ((tenants.get(tenantId) ?? 0) + elsewhere.ofTenant(tenantId) >= limits.perOrganization) {
    return `The organization has ${limits.perOrganization} live connections, as many as it may: close some.`
  }
  if (userId !== undefined && (users.get(userId) ?? 0) + elsewhere.ofUser(userId) >= limits.perUser) {
    return `This user has ${limits.perUser} live connections, as many as one may: close some.`
  }
  return undefined
}

/** Closes it at once: a close in good order would wait behind all that it does not take. */
const cutOff = ({ conn }: LiveSocket) => {
  const { socket } = conn.transport as unknown as { readonly socket?: { terminate?(): void } }
  socket?.terminate?.()
  conn.close(true)
}

/** Transports for which somebody has asked. */
const seen = new WeakSet<object>()

/** Nothing else is left to do over its transport, which would take up a place. */
const closeSoon = ({ conn }: LiveSocket) => void setTimeout(() => conn.close(), FAREWELL_MILLIS).unref()

/** Counted at once, so that of those that come together only as many as may get in. */
const admit = async (socket: LiveSocket, admission: Admission): Promise<void> => {
  const { audience, behind, counts } = admission
  const { conn } = socket
  // While one is being looked at, others could be sent behind it.
  if (seen.has(conn))
    throw new Refused({ type: "too-many-requests", message: "One connection is asked for at a time." })
  seen.add(conn)
  const token = tokenOf(socket.handshake.auth)
  const caller = token === undefined ? undefined : await behind.identify(token)
  if (token === undefined || caller === undefined) {
    throw new Refused({
      type: "unauthenticated",
      message: "Connect with auth: {token}, an accessToken from POST /api/v1/auth/login that has not ended."
    })
  }
  const message = tooMany(caller, admission)
  if (message !== undefined) throw new Refused({ type: "too-many-connections", message })
  const outbox = new Outbox(conn as unknown as Transporting, {
    queued: () => void counts.sent++,
    slow: () => {
      audience.slow.add(connection)
      void socket.join(SLOW_ROOM)
    },
    full: () => {
      counts.close("full")
      setImmediate(() => cutOff(socket))
    }
  })
  const connection = new Connection(socket, outbox, caller, token, behind)
  socket.data.connection = connection
  audience.add(connection)
  const gone = () => {
    connection.leaveAll()
    audience.remove(connection)
  }
  conn.once("close", gone)
  socket.once("disconnect", () => {
    gone()
    closeSoon(socket)
  })
  if (conn.readyState !== "open") gone()
}

/** From here on the server takes connections. */
export const admitTo = (admission: Admission): void => {
  const { counts, io } = admission
  io.use((socket, next) => {
    admit(socket, admission).then(
      () => next(),
      (error: Error) => {
        counts.refuse(error instanceof Refused ? error.data.type : "fault")
        next(error)
        closeSoon(socket)
      }
    )
  })
  io.on("connection", (socket) => {
    // What a client sends under this name would throw without a listener.
    socket.on("error", () => {})
    socket.data.connection?.begin()
  })
}
