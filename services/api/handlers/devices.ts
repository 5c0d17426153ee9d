import { type DeviceChange } from "@argusiq/domain/http/devices.ts"
import { Conflict, Forbidden } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { isAllowed } from "@argusiq/domain/permissions.ts"
import { Certificates } from "@argusiq/layers/certificates/Certificates.ts"
import { ApiKeys } from "@argusiq/layers/registry/ApiKeys.ts"
import { Devices } from "@argusiq/layers/registry/Devices.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { pageOf } from "@argusiq/layers/registry/paging.ts"
import { orProblem } from "../refusals.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

const standingBehind = new Conflict({ detail: "Other devices stand behind this one: remove or move them first." })
const mayNotCertify = new Forbidden({
  detail:
    "A certificate needs the permission certificates:write. Leave certificateValidityDays out, or ask an engineer."
})

interface ChangeRequest {
  readonly params: { readonly id: string }
  readonly headers: { readonly "if-match"?: string }
  readonly payload: DeviceChange
}

export const devices = HttpApiBuilder.group(
  RestApi,
  "devices",
  Effect.fnUntraced(function* (handlers) {
    const devices = yield* Devices
    const keys = yield* ApiKeys
    const certificates = yield* Certificates
    const change = ({ headers, params, payload }: ChangeRequest) =>
      basedOnVersion(headers, (caller, version) => devices.change(caller, params.id, payload, version)).pipe(
        orProblem,
        withEtag
      )

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => devices.list(caller, query)).pipe(orProblem),
      create: ({ payload: { certificateValidityDays: days, ...device } }) =>
        Effect.gen(function* () {
          const caller = yield* Principal
          if (days === undefined) return yield* devices.create(caller, device)
          if (!isAllowed(caller, "certificates:write")) return yield* mayNotCertify
          const made = yield* certificates.issueWithDevice(caller, device, days)
          return { ...made.device, ...made }
        }).pipe(Effect.catchTag("NotRegistered", Effect.die), orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => devices.get(caller, params.id)).pipe(orProblem, withEtag),
      children: ({ params, query }) =>
        Effect.gen(function* () {
          const caller = yield* Principal
          const gateway = yield* devices.get(caller, params.id)
          return yield* devices.list(caller, { ...query, parentDeviceId: gateway.id })
        }).pipe(orProblem),
      change,
      replace: change,
      decommission: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => devices.decommission(caller, params.id, version)).pipe(
          orProblem,
          withEtag
        ),
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => devices.remove(caller, params.id, version)).pipe(
          Effect.catchTag("BadReference", () => Effect.fail(standingBehind)),
          orProblem
        ),
      listKeys: ({ params, query }) =>
        Effect.flatMap(Principal, (caller) => keys.list(caller, params.id)).pipe(
          Effect.flatMap((items) => pageOf(items, query, ({ id }) => id)),
          orProblem
        ),
      createKey: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) => keys.create(caller, params.id, payload?.expiresAt)).pipe(orProblem),
      revokeKey: ({ params }) =>
        Effect.flatMap(Principal, (caller) => keys.revoke(caller, params.id, params.keyId)).pipe(orProblem)
    })
  })
)
