/**
 * Who acts, as the audit log says it of each change. The ways into the database (`inTenant`, `asUser`) tell it to every
 * transaction; without one it is the platform itself.
 * @module
 */
import { Context } from "effect"

export interface AuditActor {
  readonly kind: "user" | "command-line" | "device" | "system"
  /** Of the user or the device. */
  readonly id?: string | undefined
  /** Of the HTTP request that asked for it. */
  readonly requestId?: string | undefined
  /** From which the request came. */
  readonly address?: string | undefined
}

export const CurrentActor = Context.Reference<AuditActor | undefined>("argusiq/layers/database/CurrentActor", {
  defaultValue: () => undefined
})
