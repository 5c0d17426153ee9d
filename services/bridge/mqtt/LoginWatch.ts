/**
 * Ends connections whose login does not hold any more: the key was revoked or has expired, the device is decommissioned or
 * gone. What changed is told by the profiles: they hold another profile of a device, or none, after any change of it.
 * @module
 */
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Schedule } from "effect"
import { stillProves } from "../DeviceLogin.ts"
import { type Admitted } from "./Broker.ts"

const LOOK_EVERY = "1 second"
/** Nothing changes when a key expires, so each connection is looked at anyhow after so long. */
const LOOK_ANYHOW_MILLIS = 30_000

export interface Watched {
  /** Undefined while it has not logged in. */
  readonly admitted: Admitted | undefined
  revoke(): void
}

/** What was known of a device before its login was last found to hold. */
interface Vouched {
  readonly profile: DeviceProfile | undefined
  readonly at: number
}

/** Watches until interrupted. While PostgreSQL is away, connections stay. */
export const watchLogins = Effect.fnUntraced(function* (connections: ReadonlySet<Watched>) {
  const profiles = yield* Profiles
  const vouched = new WeakMap<Watched, Vouched>()

  const isDue = (connection: Watched, now: number) => {
    if (connection.admitted === undefined) return false
    const last = vouched.get(connection)
    if (last?.profile === undefined || now - last.at > LOOK_ANYHOW_MILLIS) return true
    return profiles.cachedDevice(connection.admitted.sender.deviceId) !== last.profile
  }
  const look = Effect.gen(function* () {
    const now = Date.now()
    const due = [...connections].filter((connection) => isDue(connection, now))
    if (due.length === 0) return
    // Before the credentials are looked at: a change after that replaces the profile that is remembered here.
    const devices = yield* profiles.devices(due.map(({ admitted }) => admitted!.sender.deviceId))
    for (const connection of due) {
      const { admitted } = connection
      if (admitted === undefined) continue
      const profile = devices.get(admitted.sender.deviceId)
      const holds = profile !== undefined && (yield* stillProves(admitted.credential, profile))
      if (holds) vouched.set(connection, { profile, at: now })
      else connection.revoke()
    }
  })
  yield* look.pipe(
    Effect.catch((error) => Effect.logDebug("Whether logins still hold cannot be checked; connections stay", error)),
    Effect.catchDefect((defect) => Effect.logError("A fault of the bridge: logins were not checked", defect)),
    Effect.repeat(Schedule.spaced(LOOK_EVERY))
  )
})
