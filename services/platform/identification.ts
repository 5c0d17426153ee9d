/**
 * Who stands behind the token of a live connection: whoever the REST API would take it for.
 * @module
 */
import { Callers } from "@argusiq/api/authorization.ts"
import { AccessTokens } from "@argusiq/layers/identity/AccessTokens.ts"
import { CommandLineToken } from "@argusiq/layers/identity/CommandLineToken.ts"
import { ExternalTokens } from "@argusiq/layers/identity/ExternalTokens.ts"
import { ExternalUsers } from "@argusiq/layers/identity/ExternalUsers.ts"
import { Identification } from "@argusiq/layers/identity/Identification.ts"
import { LiveSessions } from "@argusiq/layers/identity/LiveSessions.ts"
import { Users } from "@argusiq/layers/identity/Users.ts"
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

export const layer = identification.pipe(
  Layer.provide(Callers.layer),
  Layer.provide(
    Layer.mergeAll(
      AccessTokens.layer,
      CommandLineToken.layer,
      ExternalUsers.layerConfig.pipe(Layer.provide(ExternalTokens.layerConfig)),
      LiveSessions.layer,
      Users.layer
    )
  )
)
