/**
 * Whom this process tells: its connections by organisation, and the rooms of Socket.IO in which they are.
 * @module
 */
import type { OneTold, ServerEvents, ToldName, ToldPayload } from "@argusiq/domain/realtime/told.ts"
import type { ClientEvents } from "@argusiq/domain/realtime/requests.ts"
import type { DefaultEventsMap, Server, Socket } from "socket.io"
import type { Connection } from "./Connection.ts"
import type { Counts } from "./metrics.ts"

/** What a connection's socket carries. */
export interface SocketData {
  connection?: Connection
}
export type LiveServer = Server<ClientEvents, ServerEvents, DefaultEventsMap, SocketData>
export type LiveSocket = Socket<ClientEvents, ServerEvents, DefaultEventsMap, SocketData>

/** The room of those who are not told telemetry at the moment. */
export const SLOW_ROOM = "slow"

/** Emits without the types of each event, which callers have checked. */
interface Emitting {
  emit(name: string, payload: unknown): unknown
}

export class Audience {
  readonly connections = new Set<Connection>()
  readonly slow = new Set<Connection>()
  readonly #io: LiveServer
  readonly #counts: Counts
  readonly #byTenant = new Map<string, number>()
  readonly #byUser = new Map<string, number>()

  constructor(io: LiveServer, counts: Counts) {
    this.#io = io
    this.#counts = counts
  }

  /** Connections of this process, by organisation and by user. */
  get numbers(): { readonly tenants: ReadonlyMap<string, number>; readonly users: ReadonlyMap<string, number> } {
    return { tenants: this.#byTenant, users: this.#byUser }
  }

  /** Whether anybody of the organisation is there. */
  has(tenantId: string | undefined): boolean {
    return tenantId !== undefined && this.#byTenant.has(tenantId)
  }

  add(connection: Connection): void {
    this.connections.add(connection)
    const { tenantId, userId } = connection.caller
    this.#byTenant.set(tenantId, (this.#byTenant.get(tenantId) ?? 0) + 1)
    if (userId !== undefined) this.#byUser.set(userId, (this.#byUser.get(userId) ?? 0) + 1)
  }

  remove(connection: Connection): void {
    if (!this.connections.delete(connection)) return
    this.slow.delete(connection)
    const { tenantId, userId } = connection.caller
    less(this.#byTenant, tenantId)
    if (userId !== undefined) less(this.#byUser, userId)
  }

  /** Every connection in one of the rooms, once. */
  tell(rooms: ReadonlyArray<string>, { name, payload }: OneTold): void {
    const target: Emitting = this.#io.local.to([...rooms])
    target.emit(name, payload)
  }

  /** As `tell`, without those who are slow. */
  tellTelemetry<Name extends ToldName>(room: string, name: Name, payload: ToldPayload<Name>): void {
    if (this.slow.size > 0) {
      for (const connection of this.slow) {
        if (!connection.socket.rooms.has(room)) continue
        connection.outbox.hasMissed = true
        this.#counts.dropped++
      }
    }
    const target: Emitting = this.#io.local.to(room).except(SLOW_ROOM)
    target.emit(name, payload)
  }

  tellAll({ name, payload }: OneTold): void {
    const target: Emitting = this.#io.local
    target.emit(name, payload)
  }
}

const less = (counts: Map<string, number>, key: string): void => {
  const count = (counts.get(key) ?? 0) - 1
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
}
