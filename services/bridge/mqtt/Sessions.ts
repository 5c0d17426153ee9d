/**
 * MQTT sessions, kept in memory. A client id belongs to the device that logged in with it: two devices with the same
 * client id have two sessions and never meet, so neither can end or occupy the other's.
 * @module
 */

/** A QoS 2 message between its PUBLISH and its PUBREL. */
export interface ReceivedMessage {
  stored: boolean
  /** Called once stored: acknowledgements owed to repetitions that came before. */
  readonly waiting: Array<() => void>
}

export interface Session {
  readonly clientId: string
  readonly received: Map<number, ReceivedMessage>
  readonly filters: Set<string>
  /** Ends the connection that uses this session, for another that takes it over; undefined while none does. */
  takenOver: (() => void) | undefined
  expirySeconds: number
  /** Epoch milliseconds, while no connection uses it. */
  expiresAt: number
}

export interface SessionLimits {
  readonly perDevice: number
  readonly maxExpirySeconds: number
}

export class Sessions {
  readonly #limits: SessionLimits
  readonly #byDevice = new Map<string, Map<string, Session>>()

  constructor(limits: SessionLimits) {
    this.#limits = limits
  }

  /** The session to go on with or a fresh one; undefined when the device holds as many connections as it may. */
  open(options: {
    readonly deviceId: string
    readonly clientId: string
    readonly clean: boolean
    readonly expirySeconds: number
    readonly takenOver: () => void
  }): { readonly session: Session; readonly present: boolean } | undefined {
    const sessions = this.#byDevice.get(options.deviceId) ?? new Map<string, Session>()
    const existing = sessions.get(options.clientId)
    if (existing === undefined && sessions.size >= this.#limits.perDevice && !dropOneUnused(sessions)) return undefined
    existing?.takenOver?.()
    const present = existing !== undefined && !options.clean && sessions.get(options.clientId) === existing
    const session: Session = present
      ? existing
      : {
          clientId: options.clientId,
          received: new Map(),
          filters: new Set(),
          takenOver: undefined,
          expirySeconds: 0,
          expiresAt: 0
        }
    session.takenOver = options.takenOver
    session.expirySeconds = Math.min(options.expirySeconds, this.#limits.maxExpirySeconds)
    sessions.set(options.clientId, session)
    this.#byDevice.set(options.deviceId, sessions)
    return { session, present }
  }

  /** The connections that the device has. */
  connectionsOf(deviceId: string) {
    let connections = 0
    for (const { takenOver } of this.#byDevice.get(deviceId)?.values() ?? []) if (takenOver !== undefined) connections++
    return connections
  }

  /** The connection that used the session is gone. */
  leave(deviceId: string, session: Session, now: number) {
    session.takenOver = undefined
    session.expiresAt = now + session.expirySeconds * 1000
    if (session.expirySeconds === 0) this.#remove(deviceId, session)
  }

  expire(now: number) {
    for (const [deviceId, sessions] of this.#byDevice) {
      for (const session of sessions.values()) {
        if (session.takenOver === undefined && session.expiresAt <= now) this.#remove(deviceId, session)
      }
    }
  }

  #remove(deviceId: string, session: Session) {
    const sessions = this.#byDevice.get(deviceId)
    if (sessions?.get(session.clientId) !== session) return
    sessions.delete(session.clientId)
    if (sessions.size === 0) this.#byDevice.delete(deviceId)
  }
}

const dropOneUnused = (sessions: Map<string, Session>) => {
  for (const session of sessions.values()) {
    if (session.takenOver === undefined) return sessions.delete(session.clientId)
  }
  return false
}
