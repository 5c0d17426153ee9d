import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Certificates } from "@argusiq/layers/certificates/Certificates.ts"
import { RevocationLists } from "@argusiq/layers/certificates/RevocationLists.ts"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

interface Named {
  readonly params: { readonly id: string }
}

export const certificates = HttpApiBuilder.group(
  RestApi,
  "certificates",
  Effect.fnUntraced(function* (handlers) {
    const certificates = yield* Certificates
    const revoke = (id: string, reason: string) =>
      Effect.flatMap(Principal, (caller) => certificates.revoke(caller, id, reason)).pipe(
        Effect.map(({ revokedAt }) => ({ success: true as const, revokedAt })),
        orProblem
      )
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => certificates.list(caller, query)).pipe(orProblem),
      get: ({ params }) => Effect.flatMap(Principal, (caller) => certificates.get(caller, params.id)).pipe(orProblem),
      issue: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) => certificates.issue(caller, params.id, payload ?? {})).pipe(orProblem),
      renew: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) => certificates.renew(caller, params.id, payload ?? {})).pipe(orProblem),
      revoke: ({ params, payload }) => revoke(params.id, payload.reason),
      remove: ({ params }) => revoke(params.id, "unspecified")
    })
  })
)

const text = new TextEncoder()
const file = (content: Uint8Array, contentType: string, name: string) =>
  HttpServerResponse.uint8Array(content, {
    contentType,
    headers: {
      "content-disposition": `attachment; filename="${name}"`,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store"
    }
  })
const pem = (content: string, name: string) => file(text.encode(content), "application/x-pem-file", name)

export const certificateFiles = HttpApiBuilder.group(
  RestApi,
  "certificateFiles",
  Effect.fnUntraced(function* (handlers) {
    const certificates = yield* Certificates
    const lists = yield* RevocationLists
    const list = () =>
      lists.current.pipe(
        Effect.map((made) => pem(made.pem, "crl.pem")),
        orProblem
      )
    return handlers.handleAll({
      revocationList: list,
      revocationListBelow: list,
      revocationListDer: () =>
        lists.current.pipe(
          Effect.map(({ der }) => file(der, "application/pkix-crl", "crl.der")),
          orProblem
        ),
      authority: () => Effect.succeed(pem(lists.authority, "ca.pem")),
      download: ({ params, query }: Named & { readonly query: { readonly token: string } }) =>
        certificates.download(params.id, query.token).pipe(
          Effect.map((zip) => file(zip, "application/zip", `device-${params.id}.zip`)),
          orProblem
        )
    })
  })
)
