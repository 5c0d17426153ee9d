import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { connectMqtt, type Sender, sendByHttp, sendByMqtt } from "../delivery.ts"
import { findDevice } from "../devices.ts"
import { Refusal } from "../errors.ts"
import { readFirstDevice } from "../FirstDevice.ts"
import { organization } from "../organization.ts"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { untilStopped } from "../process.ts"

const DEMO_SECONDS = 60

/** In tenths, as a sensor gives it, with a little noise. */
const measured = (value: number) => Math.round((value + (Math.random() - 0.5) * 0.3) * 10) / 10

/** A room's temperature and humidity over the seconds: a slow swing. */
const plausible = (second: number) => {
  const swing = Math.sin((2 * Math.PI * second) / 45)
  return { temperature: measured(21.5 + 1.5 * swing), humidity: measured(45 - 4 * swing) }
}

const parsePayload = (text: string) =>
  Effect.try({
    try: (): unknown => JSON.parse(text),
    catch: (cause) => new Refusal({ message: `The payload is not JSON: ${String(cause)}` })
  })

/** The device to send as, and a key of it: the given one, the first device's, or one made for this command and revoked after it. */
const chooseSender = Effect.fn("send.chooseSender")(function* (
  device: Option.Option<string>,
  givenKey: Option.Option<string>,
  organization: Option.Option<string>
) {
  const platform = yield* connectToPlatform
  const first = readFirstDevice(platform.record.secretsDirectory)
  if (Option.isNone(device) && first === undefined) {
    return yield* new Refusal({ message: "Name the device: argusiq send --device <id, serial number or name>" })
  }
  const wanted = Option.getOrElse(device, () => first?.deviceId ?? "")
  const { api, device: found } = yield* findDevice(platform, wanted, Option.getOrUndefined(organization))
  const known = Option.getOrUndefined(givenKey) ?? (first?.deviceId === found.id ? first.key : undefined)
  if (known !== undefined) return { platform, sender: { deviceId: found.id, key: known }, name: found.name }
  const made = yield* Effect.acquireRelease(
    api.devices
      .createKey({ params: { id: found.id }, payload: undefined })
      .pipe(Effect.mapError(inWords(`No key can be made for ${found.name}`))),
    (key) => Effect.ignore(api.devices.revokeKey({ params: { id: found.id, keyId: key.id } }))
  )
  return { platform, sender: { deviceId: found.id, key: made.key } satisfies Sender, name: found.name }
})

/** `argusiq send`: one message with the given JSON, or a minute of a room's climate. */
export const send = Command.make(
  "send",
  {
    payload: Argument.String("payload").pipe(
      Argument.withDescription(`The device's own JSON, for example '{"temperature": 21.5}'`),
      Argument.optional
    ),
    device: Flag.String("device").pipe(
      Flag.withDescription("Id, external id, serial number or name; the first device unless told"),
      Flag.optional
    ),
    via: Flag.Literals("via", ["http", "mqtt"]).pipe(Flag.withDefault("http" as const)),
    key: Flag.String("key").pipe(
      Flag.withDescription("API key of the device; unless told one is made for this command and revoked after it"),
      Flag.optional
    ),
    organization,
    demo: Flag.Boolean("demo").pipe(
      Flag.withDefault(false),
      Flag.withDescription("One message a second for a minute, like a room's climate")
    ),
    seconds: Flag.Int("seconds").pipe(Flag.withDescription("How long --demo lasts"), Flag.withDefault(DEMO_SECONDS))
  },
  Effect.fn("send")(function* ({ payload, device, via, key, organization, demo, seconds }) {
    if (demo === Option.isSome(payload)) {
      return yield* new Refusal({ message: "Give either a payload as JSON, or --demo." })
    }
    const message = Option.isSome(payload) ? yield* parsePayload(payload.value) : undefined
    const { platform, sender, name } = yield* chooseSender(device, key, organization)
    const client = via === "mqtt" ? yield* connectMqtt(platform.record, sender) : undefined
    const deliver = (content: unknown) =>
      client === undefined
        ? Effect.asVoid(sendByHttp(platform.url, sender, content))
        : Effect.asVoid(sendByMqtt(client, sender, content))
    if (!demo) {
      yield* deliver(message)
      return yield* Console.log(`Acknowledged, so it is durable: ${name} over ${via.toUpperCase()}.`)
    }
    const sendDemo = Effect.gen(function* () {
      for (let second = 0; second < seconds; second++) {
        const content = plausible(second)
        yield* deliver(content)
        yield* Console.log(`${name} ${JSON.stringify(content)}`)
        if (second + 1 < seconds) yield* Effect.sleep("1 second")
      }
    })
    yield* untilStopped(sendDemo)
  }, Effect.scoped)
).pipe(Command.withDescription("Send as a device does: one message, or a minute of demo data"))
