import { Console, Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import { findDevice } from "../devices.ts"
import { organization } from "../organization.ts"
import { connectToPlatform, inWords } from "../PlatformClient.ts"

/** `argusiq key <device>`: makes an API key and prints it, alone on standard output. */
export const key = Command.make(
  "key",
  {
    device: Argument.String("device").pipe(Argument.withDescription("Id, external id, serial number or name")),
    organization
  },
  Effect.fn("key")(function* ({ device: wanted, organization }) {
    const { api, device } = yield* findDevice(yield* connectToPlatform, wanted, Option.getOrUndefined(organization))
    const made = yield* api.devices
      .createKey({ params: { id: device.id }, payload: undefined })
      .pipe(Effect.mapError(inWords(`No key can be made for ${device.name}`)))
    yield* Console.error(`API key of ${device.name} (${device.id}); it is shown this once:`)
    yield* Console.log(made.key)
  })
).pipe(Command.withDescription("Make an API key for a device"))
