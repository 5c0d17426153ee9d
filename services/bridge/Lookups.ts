/**
 * Which device an address leads to: at once when it is in memory, else by one lookup for all who wait. While the database is
 * away an address is neither known nor unknown, and waits.
 * @module
 */
import { type Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { type TelemetryTopic } from "@argusiq/domain/bridge.ts"
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { Cause, type Context, Effect, Exit, Latch } from "effect"

export type Address = Exclude<TelemetryTopic, { readonly _tag: "Invalid" }>
type Found = (device: DeviceProfile | undefined) => void

/** How long an external id stays resolved to a device, and how many do. */
const EXTERNAL_ID_MILLIS = 5_000
const MAX_EXTERNAL_IDS = 100_000
const RETRY_MILLIS = 250

const keyOf = (address: Address) =>
  address._tag === "ByDeviceId" ? address.deviceId : `${address.organizationId}/${address.externalId}`

interface Question {
  readonly address: Address
  readonly found: Found
}

export class Lookups {
  readonly #profiles: Context.Service.Shape<typeof Profiles>
  readonly #externalIds = new Map<string, { readonly deviceId: string; readonly until: number }>()
  /** By lane: what must keep its order among itself. */
  readonly #waiting = new Map<string, Array<Question>>()
  readonly #asked = Latch.makeUnsafe()

  private constructor(profiles: Context.Service.Shape<typeof Profiles>) {
    this.#profiles = profiles
  }

  static make = Effect.fn("Lookups.make")(function* (profiles: Context.Service.Shape<typeof Profiles>) {
    const lookups = new Lookups(profiles)
    yield* Effect.forkScoped(Effect.forever(lookups.#round))
    return lookups
  })

  /** The device in memory; undefined when it has to be looked up, or when something waits in the lane already. */
  now(lane: string | undefined, address: Address): DeviceProfile | undefined {
    if (this.#waiting.size > 0 && this.#waiting.has(lane ?? keyOf(address))) return undefined
    if (address._tag === "ByDeviceId") return this.#profiles.cachedDevice(address.deviceId)
    const resolved = this.#externalIds.get(keyOf(address))
    return resolved === undefined || resolved.until < Date.now()
      ? undefined
      : this.#profiles.cachedDevice(resolved.deviceId)
  }

  /** Calls `found` once it is known, in the order of the calls for one lane (the address is one where none is given), with
   * `undefined` when there is no such device. */
  later(lane: string | undefined, address: Address, found: Found) {
    const key = lane ?? keyOf(address)
    const questions = this.#waiting.get(key)
    if (questions === undefined) this.#waiting.set(key, [{ address, found }])
    else questions.push({ address, found })
    this.#asked.openUnsafe()
  }

  readonly #round = Effect.suspend(() => this.#asked.await).pipe(
    Effect.andThen(Effect.suspend(() => this.#resolveWaiting())),
    Effect.exit,
    Effect.flatMap((exit) =>
      Exit.isSuccess(exit)
        ? Effect.sync(() => {
            if (this.#waiting.size === 0) this.#asked.closeUnsafe()
          })
        : Cause.hasInterruptsOnly(exit.cause)
          ? Effect.interrupt
          : Effect.andThen(
              Effect.logDebug(
                `Devices cannot be looked up; messages of ${this.#waiting.size} of them wait`,
                exit.cause
              ),
              Effect.sleep(RETRY_MILLIS)
            )
    )
  )

  readonly #resolveWaiting = Effect.fnUntraced({ self: this }, function* () {
    const lanes = [...this.#waiting].map(([lane, questions]) => ({ lane, count: questions.length, questions }))
    const addresses = new Map<string, Address>()
    for (const { questions } of lanes) for (const { address } of questions) addresses.set(keyOf(address), address)
    const ids = new Map<string, string | undefined>()
    yield* Effect.forEach(
      addresses,
      ([key, address]) =>
        address._tag === "ByDeviceId"
          ? Effect.sync(() => ids.set(key, address.deviceId))
          : Effect.map(this.#profiles.byExternalId(address.organizationId, address.externalId), (id) => {
              ids.set(key, id)
              if (id !== undefined) this.#remember(key, id)
            }),
      { concurrency: 8, discard: true }
    )
    const devices = yield* this.#profiles.devices([...ids.values()].filter((id) => id !== undefined))
    for (const { lane, count, questions } of lanes) {
      const answered = questions.splice(0, count)
      if (questions.length === 0) this.#waiting.delete(lane)
      for (const { address, found } of answered) {
        const id = ids.get(keyOf(address))
        found(id === undefined ? undefined : devices.get(id))
      }
    }
  })

  #remember(key: string, deviceId: string) {
    if (this.#externalIds.size >= MAX_EXTERNAL_IDS) this.#externalIds.clear()
    this.#externalIds.set(key, { deviceId, until: Date.now() + EXTERNAL_ID_MILLIS })
  }
}
