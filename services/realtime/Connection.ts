/**
 * One live connection: who it is, what it has subscribed to, and how its requests are answered, one after the other.
 * @module
 */
import type { Caller } from "@argusiq/domain/http/security.ts"
import { isAllowed, type Permission } from "@argusiq/domain/permissions.ts"
import {
  type Answer,
  type EntityRoom,
  type Fault,
  readRequest,
  type Request,
  type Room
} from "@argusiq/domain/realtime/requests.ts"
import { entityRoom, organizationRoom } from "@argusiq/domain/realtime/telling.ts"
import type { Watchable } from "@argusiq/layers/realtime/WatchableEntities.ts"
import { Result } from "effect"
import { type LiveSocket } from "./Audience.ts"
import { type Outbox } from "./Outbox.ts"
import type { Watched } from "./Watched.ts"

/** Requests at once, and how many more each second. */
const REQUESTS_AT_ONCE = 1_000
const REQUESTS_PER_SECOND = 100

/** What the organisation's room brings. */
const ofOrganization: ReadonlyArray<Permission> = ["devices:read", "alarms:read", "activities:read"]
const ofEntity = {
  device: ["devices:read", "telemetry:read", "alarms:read", "activities:read"],
  asset: ["assets:read", "telemetry:read", "alarms:read", "activities:read"]
} as const satisfies Record<string, ReadonlyArray<Permission>>

/** What a connection asks of the rest of the service; none of it rejects. */
export interface Behind {
  readonly watched: Watched
  readonly subscriptions: number
  readonly identify: (token: string) => Promise<Caller | undefined>
  /** "unavailable": the database does not answer. */
  readonly find: (caller: Caller, entity: EntityRoom) => Promise<Watchable | "not-found" | "unavailable">
}

const ok: Answer = { ok: true }
const fault = (type: Fault["type"], message: string): Answer => ({ ok: false, error: { type, message } })

export class Connection {
  readonly socket: LiveSocket
  readonly outbox: Outbox
  caller: Caller
  token: string
  readonly #behind: Behind
  readonly #rooms = new Set<string>()
  #requests = REQUESTS_AT_ONCE
  #requestedAt = performance.now()
  #last: Promise<void> = Promise.resolve()

  constructor(socket: LiveSocket, outbox: Outbox, caller: Caller, token: string, behind: Behind) {
    this.socket = socket
    this.outbox = outbox
    this.caller = caller
    this.token = token
    this.#behind = behind
  }

  /** It is open: it hears of its organisation, and its requests are answered. */
  begin(): void {
    this.#joinOrganization()
    this.socket.onAny((name: string, ...values: ReadonlyArray<unknown>) => this.#received(name, values))
  }

  /** It is closed. */
  leaveAll(): void {
    for (const room of this.#rooms) this.#behind.watched.remove(room)
    this.#rooms.clear()
  }

  #joinOrganization(): boolean {
    const mayHear = ofOrganization.every((permission) => isAllowed(this.caller, permission))
    if (mayHear) void this.socket.join(organizationRoom(this.caller.tenantId))
    return mayHear
  }

  #received(name: string, values: ReadonlyArray<unknown>): void {
    const last = values.at(-1)
    const answer = (answered: Answer) => {
      if (typeof last === "function") last(answered)
    }
    if (!this.#mayRequest()) {
      return answer(fault("too-many-requests", `At most ${REQUESTS_PER_SECOND} requests a second are answered.`))
    }
    const read = readRequest(name, values[0])
    if (Result.isFailure(read)) return answer({ ok: false, error: read.failure })
    this.#last = this.#last.then(async () => answer(await this.#answer(read.success)))
  }

  #mayRequest(): boolean {
    const now = performance.now()
    const earned = ((now - this.#requestedAt) / 1_000) * REQUESTS_PER_SECOND
    this.#requests = Math.min(REQUESTS_AT_ONCE, this.#requests + earned)
    this.#requestedAt = now
    if (this.#requests < 1) return false
    this.#requests--
    return true
  }

  #answer(request: Request): Promise<Answer> | Answer {
    switch (request.name) {
      case "authenticate":
        return this.#authenticate(request.payload.token)
      case "subscribe":
        return this.#subscribe(request.payload)
      case "unsubscribe":
        return this.#unsubscribe(request.payload)
    }
  }

  async #authenticate(token: string): Promise<Answer> {
    const caller = await this.#behind.identify(token)
    if (caller === undefined) return fault("unauthenticated", "This token is none of this platform's, or has ended.")
    const { tenantId, userId } = this.caller
    if (caller.tenantId !== tenantId || caller.userId !== userId) {
      return fault("forbidden", "This token is another user's or another organization's: open a connection for it.")
    }
    this.caller = caller
    this.token = token
    return ok
  }

  #subscribe(room: Room): Promise<Answer> | Answer {
    if ("id" in room) return this.#watch(room)
    if (room.organizationId !== this.caller.tenantId) return notFound("organization", room.organizationId)
    return this.#joinOrganization() ? ok : fault("forbidden", `The role ${this.caller.role} may not hear of it.`)
  }

  async #watch(entity: EntityRoom): Promise<Answer> {
    const name = entityRoom(entity)
    const { caller } = this
    const { find, subscriptions, watched } = this.#behind
    const lacking = ofEntity[entity.entityType].find((permission) => !isAllowed(caller, permission))
    if (lacking !== undefined) {
      return fault("forbidden", `This needs the permission ${lacking}, which the role ${caller.role} does not have.`)
    }
    if (this.#rooms.has(name)) return ok
    if (this.#rooms.size >= subscriptions) {
      return fault("too-many-subscriptions", `A connection watches at most ${subscriptions} devices and assets.`)
    }
    const found = await find(caller, entity)
    if (found === "not-found") return notFound(entity.entityType, entity.id)
    if (found === "unavailable") return fault("unavailable", "The database does not answer: try again.")
    if (!this.socket.connected) return fault("unavailable", "The connection is closed.")
    watched.add(entity, caller.tenantId, found)
    this.#rooms.add(name)
    await this.socket.join(name)
    return ok
  }

  async #unsubscribe(room: Room): Promise<Answer> {
    if (!("id" in room)) {
      if (room.organizationId !== this.caller.tenantId) return notFound("organization", room.organizationId)
      await this.socket.leave(organizationRoom(room.organizationId))
      return ok
    }
    const name = entityRoom(room)
    if (this.#rooms.delete(name)) {
      await this.socket.leave(name)
      this.#behind.watched.remove(name)
    }
    return ok
  }
}

const notFound = (what: string, id: string): Answer => fault("not-found", `There is no ${what} ${id}.`)
