/**
 * Who may do what: one table of roles and permissions. Every route names the permission it needs; a route without one is
 * refused to everybody.
 * @module
 */
import { Context } from "effect"

export const permissions = [
  "organization:read",
  "organization:write", // its name and settings
  "users:read", // the organization's members
  "users:write",
  "devices:read",
  "devices:write",
  "device-keys:write",
  "certificates:read",
  "certificates:write",
  "device-types:read",
  "device-types:write",
  "assets:read",
  "assets:write",
  "asset-types:read",
  "asset-types:write",
  "rules:read",
  "rules:write",
  "alarms:read", // and events
  "alarms:write", // acknowledge, dismiss and comment them
  "activities:read",
  "activities:write",
  "activities:work", // begin, tick off, complete and cancel them
  "webhooks:read", // what left by e-mail and webhook
  "webhooks:write", // and the secret that signs it
  "telemetry:read",
  "dead-letters:read",
  "dead-letters:retry",
  "organizations:operate", // adds, suspends and changes organisations
  "audit:read",
  "platform:operate" // sees across organisations: topics, records, consumers, caches
] as const
export type Permission = (typeof permissions)[number]

export const roles = ["admin", "manager", "engineer", "technician", "viewer"] as const
/** A role within one organisation. Operating the platform is a property of the user, not of a membership. */
export type Role = (typeof roles)[number]

const reading: ReadonlyArray<Permission> = [
  "organization:read",
  "devices:read",
  "certificates:read",
  "device-types:read",
  "assets:read",
  "asset-types:read",
  "rules:read",
  "alarms:read",
  "activities:read",
  "telemetry:read"
]
/** Who keeps devices running sees what could not be processed, payloads included. */
const servicing: ReadonlyArray<Permission> = [...reading, "dead-letters:read", "alarms:write", "activities:work"]
const configuring: ReadonlyArray<Permission> = [
  ...servicing,
  "users:read",
  "devices:write",
  "device-keys:write",
  "certificates:write",
  "device-types:write",
  "assets:write",
  "asset-types:write",
  "rules:write",
  "activities:write",
  "webhooks:read",
  "webhooks:write",
  "dead-letters:retry"
]

export const rolePermissions: Readonly<Record<Role, ReadonlySet<Permission>>> = {
  admin: new Set([...configuring, "organization:write", "users:write", "audit:read"]),
  manager: new Set([
    ...servicing,
    "users:read",
    "devices:write",
    "assets:write",
    "rules:write",
    "activities:write",
    "webhooks:read"
  ]),
  engineer: new Set(configuring),
  technician: new Set(servicing),
  viewer: new Set(reading)
}

const operating: ReadonlySet<Permission> = new Set(["platform:operate", "organizations:operate"])

/** What a caller is: its role in the organisation it acts in, and whether it may operate the platform. */
export interface Authority {
  readonly role: Role
  readonly isPlatformAdmin: boolean
}

export const isAllowed = (authority: Authority, permission: Permission): boolean =>
  rolePermissions[authority.role].has(permission) || (authority.isPlatformAdmin && operating.has(permission))

/** Nobody gives away, or takes from somebody, what he may not do himself. */
export const mayGrant = (authority: Authority, role: Role): boolean =>
  rolePermissions[role].values().every((permission) => isAllowed(authority, permission))

/** Annotation of an endpoint: what its caller must be allowed to do. "none" is any signed-in caller. */
export class RequiredPermission extends Context.Service<RequiredPermission, Permission | "none">()(
  "argusiq/domain/permissions/RequiredPermission"
) {}
