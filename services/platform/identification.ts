/**
 * Who stands behind the token of a live connection: whoever the REST API would take it for.
 * @module
 */
import { Callers, identities } from "@argusiq/api/authorization.ts"
import { Identification } from "@argusiq/layers/identity/Identification.ts"
import { Effect, Layer } from "effect"

const identification = Layer.effect(
  Identification,
  Effect.map(Callers, (callers) =>
    Identification.of({
      // Whoever has a temporary password may do nothing but change it.
      identify: (token) =>
        Effect.map(callers.identify(token), (caller) => (caller?.mustChangePassword === true ? undefined : caller))
    })
  )
)

export const layer = identification.pipe(Layer.provide(Callers.layer), Layer.provide(identities))
