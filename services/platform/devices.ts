/**
 * Devices as a person names them on the command line.
 * @module
 */
import { type Device } from "@argusiq/domain/http/devices.ts"
import { Effect } from "effect"
import { demoOrganizationId } from "./demo.ts"
import { Refusal } from "./errors.ts"
import { readFirstDevice } from "./FirstDevice.ts"
import { type connectToPlatform, inWords } from "./PlatformClient.ts"

type Platform = Effect.Success<typeof connectToPlatform>
type Api = Platform["api"]

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** The devices of one organisation that carry the name, and some whose names hold it. */
const search = Effect.fnUntraced(function* (api: Api, wanted: string) {
  if (uuid.test(wanted)) {
    const found = yield* api.devices
      .get({ params: { id: wanted.toLowerCase() } })
      .pipe(Effect.catchTag("NotFound", () => Effect.succeed(undefined)))
    return { matching: found === undefined ? [] : [found], similar: [] }
  }
  const { items } = yield* api.devices.list({ query: { q: wanted, limit: 500 } })
  const carries = (device: Device) => [device.externalId, device.serialNumber, device.name].includes(wanted)
  return { matching: items.filter(carries), similar: items.map(({ name }) => name) }
})

/**
 * The one device with this id, external id, serial number or name, and a client that acts for its organisation; fails when
 * there is none, or several. Looked for in the named organisation, else in those that every installation may have: that of
 * the first device, the administrator's, the demo organisation.
 */
export const findDevice = Effect.fn("findDevice")(function* (
  { apiOf, record }: Platform,
  wanted: string,
  organization: string | undefined
) {
  const places =
    organization === undefined
      ? new Set([readFirstDevice(record.secretsDirectory)?.organizationId, undefined, demoOrganizationId])
      : new Set([organization])
  const found = new Map<string, { readonly device: Device; readonly api: Api }>()
  const similar = new Set<string>()
  for (const place of places) {
    const api = yield* apiOf(place)
    const result = yield* search(api, wanted).pipe(Effect.mapError(inWords("Devices cannot be looked up")))
    for (const device of result.matching) found.set(device.id, { device, api })
    for (const name of result.similar) similar.add(name)
  }
  const [first, ...others] = found.values()
  if (first === undefined) {
    const near = [...similar].slice(0, 5)
    return yield* new Refusal({
      message: `There is no device ${wanted}.${near.length > 0 ? ` Similar: ${near.join(", ")}.` : ""}`
    })
  }
  if (others.length > 0) {
    return yield* new Refusal({
      message: `Several devices are called ${wanted}: ${[...found.keys()].join(", ")}. Name one by its id.`
    })
  }
  return first
})
