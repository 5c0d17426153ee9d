import { isAllowed, mayGrant, permissions, rolePermissions, roles } from "@argusiq/domain/permissions.ts"
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

const as = (role: (typeof roles)[number], isPlatformAdmin = false) => ({ role, isPlatformAdmin })

describe("roles and permissions", () => {
  it("nobody gives a role that may do more than the own one", () => {
    for (const role of roles) assert.isTrue(mayGrant(as("admin"), role), role)
    assert.isFalse(mayGrant(as("engineer"), "admin"))
    assert.isFalse(mayGrant(as("manager"), "engineer"))
    assert.isTrue(mayGrant(as("manager"), "technician"))
    assert.isFalse(mayGrant(as("viewer"), "technician"))
  })

  it("operating the platform opens what is the platform's, and nothing of an organization", () => {
    const ofPlatform = permissions.filter((permission) => isAllowed(as("viewer", true), permission))
    const ofViewer = permissions.filter((permission) => isAllowed(as("viewer"), permission))
    assert.sameMembers(
      ofPlatform.filter((permission) => !ofViewer.includes(permission)),
      ["platform:operate", "organizations:operate"]
    )
    for (const role of roles) assert.isFalse(isAllowed(as(role), "organizations:operate"), role)
  })

  it("docs/security.md shows the table as it is", () => {
    const shown = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8")
    for (const permission of permissions) {
      const cells = [
        ...roles.map((role) => rolePermissions[role].has(permission)),
        isAllowed(as("viewer", true), permission) && !rolePermissions.viewer.has(permission)
      ].map((has) => (has ? "✓" : " "))
      assert.include(
        shown.replaceAll(/ +\|/g, " |"),
        `| \`${permission}\` | ${cells.join(" | ")} |`.replaceAll(/ +\|/g, " |")
      )
    }
  })
})
