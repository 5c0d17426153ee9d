import { Unprocessable } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { compileConverter } from "@argusiq/domain/protocol/converter.ts"
import { structureLimits } from "@argusiq/domain/scan.ts"
import { storableJson } from "@argusiq/domain/storable.ts"
import { encodedBytes, writtenBytes } from "@argusiq/domain/trial-run.ts"
import { InvalidConverter, ProtocolConverters } from "@argusiq/layers/registry/ProtocolConverters.ts"
import { type ProtocolConverterChange } from "@argusiq/domain/http/protocol-converters.ts"
import { Effect, Result } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { trialProblem } from "../trialProblem.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

interface ChangeRequest {
  readonly headers: { readonly "if-match"?: string }
  readonly params: { readonly id: string }
  readonly payload: ProtocolConverterChange
}

export const protocolConverters = HttpApiBuilder.group(
  RestApi,
  "protocolConverters",
  Effect.fnUntraced(function* (handlers) {
    const converters = yield* ProtocolConverters
    const change = ({ headers, params, payload }: ChangeRequest) =>
      basedOnVersion(headers, (caller, version) => converters.change(caller, params.id, payload, version)).pipe(
        orProblem,
        withEtag
      )

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => converters.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => converters.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => converters.get(caller, params.id)).pipe(orProblem, withEtag),
      change,
      replace: change,
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => converters.remove(caller, params.id, version)).pipe(orProblem),
      test: ({ params, payload: { content, encoding, payload } }) =>
        Effect.gen(function* () {
          const converter = yield* converters.get(yield* Principal, params.id)
          const compiled = compileConverter(content ?? converter, converter.version)
          if (Result.isFailure(compiled)) return yield* new InvalidConverter({ faults: compiled.failure })
          const bytes = encoding === undefined ? writtenBytes(payload) : encodedBytes(payload, encoding)
          if (bytes === undefined) {
            const message = `must be text of the encoding ${encoding}`
            return yield* new Unprocessable({ errors: [{ path: "payload", message }] })
          }
          const decoded = compiled.success.decoder.decode(bytes, structureLimits)
          return Result.match(decoded, {
            onFailure: (poison) => ({ document: null, error: trialProblem(poison) }),
            onSuccess: ({ root }) => ({ document: storableJson(root), error: null })
          })
        }).pipe(orProblem)
    })
  })
)
