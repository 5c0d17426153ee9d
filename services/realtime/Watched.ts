/**
 * The devices and assets that somebody watches in this process: what decides whether a record is opened.
 * @module
 */
import { LatestValues } from "@argusiq/domain/realtime/latest-values.ts"
import { type EntityRoom } from "@argusiq/domain/realtime/requests.ts"
import { entityRoom } from "@argusiq/domain/realtime/telling.ts"
import type { Watchable } from "@argusiq/layers/realtime/WatchableEntities.ts"

export interface Watch extends EntityRoom {
  readonly room: string
  readonly tenantId: string
  readonly values: LatestValues
  /** Epoch milliseconds. */
  readonly since: number
  isGateway: boolean
  senders: ReadonlyArray<string>
  connections: number
}

export class Watched {
  readonly #byRoom = new Map<string, Watch>()
  readonly #devices = new Map<string, Watch>()
  readonly #assets = new Map<string, Watch>()
  /** How many watched devices each may send for. */
  readonly #senders = new Map<string, number>()

  get size(): number {
    return this.#byRoom.size
  }

  all(): Iterable<Watch> {
    return this.#byRoom.values()
  }

  device(id: string): Watch | undefined {
    return this.#devices.get(id)
  }

  asset(id: string): Watch | undefined {
    return this.#assets.get(id)
  }

  /** Whether a message of this device may hold readings of a watched one. */
  mayHear(senderId: string): boolean {
    return this.#senders.has(senderId)
  }

  get hasDevices(): boolean {
    return this.#devices.size > 0
  }

  get hasAssets(): boolean {
    return this.#assets.size > 0
  }

  /** One more connection watches it. */
  add(entity: EntityRoom, tenantId: string, { isGateway, score, senders }: Watchable): void {
    const room = entityRoom(entity)
    const known = this.#byRoom.get(room)
    if (known !== undefined) {
      known.connections++
      this.refresh(known, { isGateway, score, senders })
      return
    }
    const values = new LatestValues(score)
    const watch: Watch = {
      ...entity,
      room,
      tenantId,
      values,
      since: Date.now(),
      isGateway,
      senders: [],
      connections: 1
    }
    this.#byRoom.set(room, watch)
    this.#of(entity).set(entity.id, watch)
    this.refresh(watch, { isGateway, score, senders })
  }

  /** One connection less does. */
  remove(room: string): void {
    const watch = this.#byRoom.get(room)
    if (watch === undefined || --watch.connections > 0) return
    this.#byRoom.delete(room)
    this.#of(watch).delete(watch.id)
    this.#count(watch.senders, -1)
  }

  /** Who sends for it may have become another. */
  refresh(watch: Watch, { isGateway, senders }: Watchable): void {
    watch.isGateway = isGateway
    this.#count(senders, 1)
    this.#count(watch.senders, -1)
    watch.senders = senders
  }

  #of({ entityType }: EntityRoom): Map<string, Watch> {
    return entityType === "device" ? this.#devices : this.#assets
  }

  #count(senders: ReadonlyArray<string>, by: 1 | -1): void {
    for (const sender of senders) {
      const count = (this.#senders.get(sender) ?? 0) + by
      if (count > 0) this.#senders.set(sender, count)
      else this.#senders.delete(sender)
    }
  }
}
