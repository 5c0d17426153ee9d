/**
 * What happens to accounts and sessions, each told by one function: to the log, and to the audit log where the change of a row
 * does not tell it already.
 * @module
 */
import { Effect } from "effect"
import { noteSecurity } from "../audit/SecurityLog.ts"

type Facts = Readonly<Record<string, string | number | boolean | undefined>>

/** Everyday ones are debug, changes info, what looks like an attack a warning. */
const told = (message: string, facts: Facts, level: "Debug" | "Info" | "Warn" = "Info") =>
  Effect.annotateLogs(
    Effect.logWithLevel(level)(message),
    Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined))
  )

interface Acting {
  readonly tenantId: string
  readonly userId: string | undefined
}
const by = ({ tenantId, userId }: Acting) => ({ organizationId: tenantId, by: userId ?? "command line" })

export const signedIn = (userId: string, tenantId: string, sessionId: string, address: string) =>
  told("Signed in", { userId, organizationId: tenantId, sessionId, address }, "Debug")
export const signInSucceeded = (email: string, userId: string) =>
  noteSecurity({
    action: "sign_in_succeeded",
    entityType: "account",
    entityId: email,
    actor: { kind: "user", id: userId }
  })
/** `userId`: absent where there is no such account. */
export const signInRefused = (email: string, userId: string | undefined, address: string) =>
  Effect.andThen(
    noteSecurity({ action: "sign_in_refused", entityType: "account", entityId: email }),
    told("A sign-in was refused", { userId, address })
  )
export const signInsLimited = (account: string, userId: string | undefined, address: string) =>
  Effect.andThen(
    noteSecurity({ action: "sign_in_locked", entityType: "account", entityId: account }),
    told("A sign-in was not tried: too many have failed", { userId, address })
  )
export const refreshTokenReused = (userId: string, tenantId: string, sessionId: string) =>
  Effect.andThen(
    noteSecurity({ action: "refresh_token_reused", entityType: "user", entityId: userId, tenantId }),
    told("A refresh token was used twice: its session is ended", { userId, sessionId }, "Warn")
  )
export const sessionEnded = (userId: string, tenantId: string, sessionId: string) =>
  Effect.andThen(
    noteSecurity({
      action: "signed_out",
      entityType: "user",
      entityId: userId,
      tenantId,
      actor: { kind: "user", id: userId }
    }),
    told("Signed out", { userId, sessionId }, "Debug")
  )
export const passwordChanged = (userId: string) => told("A user changed the own password", { userId })
export const passwordSet = (actor: Acting, userId: string) =>
  told("A temporary password was set", { ...by(actor), userId })
export const invitationAccepted = (userId: string, tenantId: string) =>
  told("An invitation was accepted", { userId, organizationId: tenantId })
export const userAdded = (actor: Acting, userId: string, role: string) =>
  told("A user was added", { ...by(actor), userId, role })
export const userChanged = (actor: Acting, userId: string, role: string, status: string) =>
  told("A user was changed", { ...by(actor), userId, role, status })
export const userRemoved = (actor: Acting, userId: string) => told("A user was removed", { ...by(actor), userId })
export const organizationAdded = (actor: Acting, organizationId: string) =>
  told("An organization was added", { by: by(actor).by, organizationId })
export const organizationChanged = (actor: Acting, organizationId: string, status: string) =>
  told("An organization was changed", { by: by(actor).by, organizationId, status })
export const externalUserMade = (userId: string, tenantId: string, issuer: string) =>
  told("A user came by the identity provider for the first time", { userId, organizationId: tenantId, issuer })
