/**
 * What a live connection may ask for, each answered by acknowledgement.
 * @module
 */
import { Result, Schema } from "effect"
import { Uuid } from "../ids.ts"

/** The longest access token that is looked at. */
export const MAX_TOKEN_LENGTH = 8_192

const EntityRoom = Schema.Struct({ entityType: Schema.Literals(["device", "asset"]), id: Uuid })
export type EntityRoom = typeof EntityRoom.Type
const OrganizationRoom = Schema.Struct({ organizationId: Uuid })
/** The whole organisation, which a connection hears of from its beginning, or one device or asset. */
export const Room = Schema.Union([OrganizationRoom, EntityRoom])
export type Room = typeof Room.Type

/** By event. */
export const Requests = {
  subscribe: Room,
  unsubscribe: Room,
  /** A fresh token of the same user and organisation, so that the connection outlives the one it began with. */
  authenticate: Schema.Struct({ token: Schema.NonEmptyString.check(Schema.isMaxLength(MAX_TOKEN_LENGTH)) })
} as const
export type RequestName = keyof typeof Requests
export type Request = {
  [Name in RequestName]: { readonly name: Name; readonly payload: (typeof Requests)[Name]["Type"] }
}[RequestName]

/** `not-found` also where it is another organisation's. */
export const FaultType = Schema.Literals([
  "invalid-request",
  "unknown-event",
  "not-found",
  "forbidden",
  "unauthenticated",
  "too-many-subscriptions",
  "too-many-requests",
  "too-many-connections",
  "unavailable"
])
export const Fault = Schema.Struct({
  type: FaultType,
  message: Schema.String, // for people
  path: Schema.optionalKey(Schema.String) // of what is wrong in the request
})
export type Fault = typeof Fault.Type
export const Answer = Schema.Union([
  Schema.Struct({ ok: Schema.Literal(true) }),
  Schema.Struct({ ok: Schema.Literal(false), error: Fault })
])
export type Answer = typeof Answer.Type

/** As Socket.IO's types want them. */
export type ClientEvents = {
  [Name in RequestName]: (payload: (typeof Requests)[Name]["Encoded"], answered: (answer: Answer) => void) => void
}

/** What a refused handshake carries as `data` of its `connect_error`. */
export type Refusal = Fault

const decoders = {
  subscribe: Schema.decodeUnknownResult(Room),
  unsubscribe: Schema.decodeUnknownResult(Room),
  authenticate: Schema.decodeUnknownResult(Requests.authenticate)
} as const

const isRequestName = (name: string): name is RequestName => Object.hasOwn(Requests, name)

const expected: Readonly<Record<RequestName, string>> = {
  subscribe: '{"organizationId": id} or {"entityType": "device" or "asset", "id": id}, ids as lower-case UUIDs',
  unsubscribe: '{"organizationId": id} or {"entityType": "device" or "asset", "id": id}, ids as lower-case UUIDs',
  authenticate: '{"token": an access token}'
}

/** Whatever a client sends becomes a request or a fault that says what is wrong with it. */
export const readRequest = (name: string, payload: unknown): Result.Result<Request, Fault> => {
  if (!isRequestName(name)) {
    return Result.fail({
      type: "unknown-event",
      message: `There is no event ${JSON.stringify(name.slice(0, 50))}; known are ${Object.keys(Requests).join(", ")}.`
    })
  }
  const decoded: Result.Result<unknown, unknown> = decoders[name](payload)
  return Result.isSuccess(decoded)
    ? Result.succeed({ name, payload: decoded.success } as Request)
    : Result.fail({ type: "invalid-request", message: `${name} takes ${expected[name]}.` })
}
