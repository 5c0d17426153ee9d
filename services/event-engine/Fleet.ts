/**
 * The devices of one partition as the event engine knows them: what was heard of them, what that comes to, and what of it is
 * still to be stored. A decision is taken once, here, and stays to be stored until it is; to hear the same again changes nothing.
 * @module
 */
import {
  type ConnectionSignal,
  type ConnectionState,
  decideStatus,
  type Gap,
  observe,
  silentAt,
  unknownDevice
} from "@argusiq/domain/connection-status.ts"
import type { DeviceConnection } from "@argusiq/domain/device-connection.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { Acceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import type { ConnectionRow, StatusEvent, StoredConnection } from "@argusiq/layers/connectivity/ConnectionStates.ts"
import { reasonOf, statusEvent } from "./statusEvent.ts"

const NEVER = Number.NEGATIVE_INFINITY

/** Text on its own: what is cut out of a longer one keeps that in memory. */
const copyOf = (text: string) => Buffer.from(text).toString()

/** A device and its type. */
export interface Addressed {
  readonly deviceId: string
  readonly tenantId: string
  readonly deviceTypeId: string
}

/** Changed in place: there are 100,000 of them and every message moves one. */
interface Known {
  readonly deviceId: string
  readonly tenantId: string
  deviceTypeId: string
  /** `seenAt` in it is as old as the state: the field beside it counts. */
  state: ConnectionState
  seenAt: Instant
  offlineAfterSeconds: number
  /** Not silent before; grows with what is heard and with gaps. */
  quietUntil: Instant
  connectionId: string | null
  revision: number
  reason: string | null
}

/** What is to be stored: as it was when it was asked for. */
export interface Unsaved {
  readonly rows: ReadonlyArray<ConnectionRow>
  readonly events: ReadonlyArray<StatusEvent>
}

export class Fleet {
  readonly partition: number
  /** Everything that was heard until then is known, of each kind. */
  telemetryTime: Instant = NEVER
  connectionsTime: Instant = NEVER
  #acceptedUntil: Instant = NEVER
  #gaps: ReadonlyArray<Gap> = []
  readonly #devices = new Map<string, Known>()
  readonly #changed = new Map<string, ConnectionRow>()
  #events: Array<StatusEvent> = []
  readonly #texts = new Map<string, string>()
  /** By device type. */
  readonly #offlineAfter: (deviceTypeId: string) => number

  constructor(
    partition: number,
    stored: ReadonlyArray<StoredConnection>,
    offlineAfterSeconds: (deviceTypeId: string) => number
  ) {
    this.partition = partition
    this.#offlineAfter = offlineAfterSeconds
    for (const { connectionId, deviceId, deviceTypeId, revision, state, tenantId } of stored) {
      this.#add({ deviceId, deviceTypeId, tenantId }, state, revision, connectionId)
    }
  }

  get size(): number {
    return this.#devices.size
  }

  /** The types of the devices. */
  types(): ReadonlySet<string> {
    const types = new Set<string>()
    for (const { deviceTypeId } of this.#devices.values()) types.add(deviceTypeId)
    return types
  }

  has(deviceId: string): boolean {
    return this.#devices.has(deviceId)
  }

  /** What another fleet of the same partition, or the log, has heard of devices that are online. */
  recall(deviceId: string, seenAt: Instant): void {
    const known = this.#devices.get(deviceId)
    if (known?.state.status === "online" && seenAt > known.seenAt) known.seenAt = seenAt
  }

  recallAll(other: Fleet): void {
    for (const { deviceId, seenAt } of other.#devices.values()) this.recall(deviceId, seenAt)
  }

  /** A message of the device was accepted. */
  seen(device: Addressed, at: Instant): void {
    const known = this.#devices.get(device.deviceId) ?? this.#add(device, unknownDevice, 0, null)
    if (known.deviceTypeId !== device.deviceTypeId) this.#changeType(known, device.deviceTypeId)
    if (known.state.status === "online" && at - known.seenAt < known.offlineAfterSeconds * 1_000_000) {
      if (at > known.seenAt) known.seenAt = at
      return
    }
    this.#endSilence(known, Math.min(at, this.connectionsTime))
    this.#hear(known, { _tag: "Seen", at })
  }

  connection(device: Addressed, { at, connected, connectionId, connections, reason }: DeviceConnection): void {
    if (!connected && (connections ?? 0) > 0) return
    const known = this.#devices.get(device.deviceId) ?? this.#add(device, unknownDevice, 0, null)
    // The end of a connection that another has followed.
    if (!connected && known.connectionId !== null && known.connectionId !== connectionId) return
    this.#endSilence(known, Math.min(at, this.telemetryTime))
    if (connected) {
      if (at >= (known.state.connectedAt ?? NEVER)) known.connectionId = connectionId
      this.#hear(known, { _tag: "Connected", at })
    } else {
      this.#hear(known, { _tag: "Disconnected", at, ...(reason !== undefined && { reason }) })
    }
  }

  /** What is known of our own outages. */
  learnOutages({ acceptedUntil, gaps }: Acceptance): void {
    this.#acceptedUntil = acceptedUntil
    this.#gaps = gaps
  }

  /** After the types were asked for again. */
  learnTypes(): void {
    for (const known of this.#devices.values()) this.#setOfflineAfter(known)
  }

  /** Finds those that are silent by now: as far as all that can tell of them has come. */
  judgeSilence(): void {
    const now = Math.min(this.telemetryTime, this.connectionsTime, this.#acceptedUntil)
    if (now === NEVER) return
    for (const known of this.#devices.values()) {
      if (known.state.status !== "online") continue
      if (now - known.seenAt < known.offlineAfterSeconds * 1_000_000 || now < known.quietUntil) continue
      this.#judge(known, now)
    }
  }

  /** Undefined: nothing. */
  unsaved(): Unsaved | undefined {
    if (this.#changed.size === 0) return undefined
    return { rows: [...this.#changed.values()], events: [...this.#events] }
  }

  saved({ events, rows }: Unsaved): void {
    for (const row of rows) if (this.#changed.get(row.deviceId) === row) this.#changed.delete(row.deviceId)
    const saved = new Set(events)
    this.#events = this.#events.filter((event) => !saved.has(event))
  }

  #add(device: Addressed, state: ConnectionState, revision: number, connectionId: string | null): Known {
    const known: Known = {
      deviceId: copyOf(device.deviceId),
      tenantId: this.#shared(device.tenantId),
      deviceTypeId: this.#shared(device.deviceTypeId),
      state,
      seenAt: state.seenAt ?? NEVER,
      offlineAfterSeconds: this.#offlineAfter(device.deviceTypeId),
      quietUntil: NEVER,
      connectionId,
      revision,
      reason: null
    }
    this.#devices.set(known.deviceId, known)
    return known
  }

  /** One text for all devices that have it. */
  #shared(text: string): string {
    const known = this.#texts.get(text)
    if (known !== undefined) return known
    const copy = copyOf(text)
    this.#texts.set(copy, copy)
    return copy
  }

  #changeType(known: Known, deviceTypeId: string): void {
    known.deviceTypeId = this.#shared(deviceTypeId)
    this.#setOfflineAfter(known)
  }

  #setOfflineAfter(known: Known): void {
    const seconds = this.#offlineAfter(known.deviceTypeId)
    if (seconds === known.offlineAfterSeconds) return
    known.offlineAfterSeconds = seconds
    known.quietUntil = NEVER
  }

  /** With what was heard in place. */
  #stateOf({ seenAt, state }: Known): ConnectionState {
    return state.seenAt === seenAt || seenAt === NEVER ? state : { ...state, seenAt }
  }

  /** Before something is heard again: was the device silent meanwhile? `until`: as far as all else that can tell of it has come. */
  #endSilence(known: Known, until: Instant): void {
    const now = Math.min(until, this.#acceptedUntil)
    if (known.state.status === "online" && now !== NEVER) this.#judge(known, now)
  }

  #hear(known: Known, signal: ConnectionSignal): void {
    const before = this.#stateOf(known)
    const state = observe(before, signal)
    const isNews =
      state.seenAt !== before.seenAt ||
      state.connectedAt !== before.connectedAt ||
      state.disconnectedAt !== before.disconnectedAt
    if (!isNews) return
    known.state = state
    known.seenAt = state.seenAt ?? NEVER
    // What is heard late, or once more, is judged as of the time that was judged already.
    this.#judge(known, Math.max(signal.at, state.changedAt ?? NEVER))
    if (signal._tag !== "Seen") this.#change(known)
  }

  #judge(known: Known, now: Instant): void {
    const before = this.#stateOf(known)
    const { change, state } = decideStatus(before, known.offlineAfterSeconds, now, this.#gaps)
    if (change === undefined) {
      known.quietUntil = silentAt(before, known.offlineAfterSeconds, this.#gaps) ?? NEVER
      return
    }
    known.state = state
    known.quietUntil = NEVER
    known.reason = reasonOf(change)
    this.#change(known)
    this.#events.push(statusEvent(known.deviceId, change, state))
  }

  #change(known: Known): void {
    known.revision++
    const { connectionId, deviceId, reason, revision, tenantId } = known
    const state = this.#stateOf(known)
    this.#changed.set(deviceId, {
      deviceId,
      tenantId,
      partition: this.partition,
      revision,
      state,
      connectionId,
      reason
    })
  }
}
