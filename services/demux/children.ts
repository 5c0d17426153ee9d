/**
 * Which devices the children are that a batch of gateway messages names; those that are new are created here, so that every
 * child exists before anything of it goes on.
 * @module
 */
import { admitChildren, type ResolvedChild } from "@argusiq/domain/demultiplex.ts"
import { effectiveVersion } from "@argusiq/domain/effective.ts"
import { type DatabaseUnavailable, Poison } from "@argusiq/domain/errors.ts"
import type { DeviceId, DeviceTypeId, Instant } from "@argusiq/domain/ids.ts"
import { type DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { GatewayChildren, type RegisteredChild } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Effect } from "effect"
import { type GatewayMessage, identifiersIn } from "./gatewayMessages.ts"

/** The child that a message names: with the version of its type that applies to the message, or why its entry cannot go on. */
export type Resolve = (message: GatewayMessage, identifier: string) => ResolvedChild | Poison

type Child = RegisteredChild | Poison
type Children = ReadonlyMap<string, Child>

const resolved = (
  child: Child | undefined,
  identifier: string,
  configAt: Instant,
  types: ReadonlyMap<string, DeviceTypeVersions>
): ResolvedChild | Poison => {
  if (child instanceof Poison) return child
  if (child === undefined) {
    return new Poison({ reason: "UnknownChildDevice", message: `The gateway has no child "${identifier}".` })
  }
  const { deviceId, deviceTypeId, status } = child
  if (status === "decommissioned") {
    const message = `The child "${identifier}" (device ${deviceId}) is out of service.`
    return new Poison({ reason: "DeviceDecommissioned", message })
  }
  const version = effectiveVersion(types.get(deviceTypeId)?.versions ?? [], configAt)
  if (version === undefined) {
    const message = `Device type ${deviceTypeId} of the child "${identifier}" has no published version: publish one and retry.`
    return new Poison({ reason: "UnknownProcessingMode", message })
  }
  return { deviceId: deviceId as DeviceId, deviceTypeId: deviceTypeId as DeviceTypeId, typeVersion: version.number }
}

export const makeResolver = Effect.gen(function* () {
  const profiles = yield* Profiles
  const registry = yield* GatewayChildren

  /** Creates what may be created; of the rest it says why not. The messages are of one gateway and one version of its type. */
  const admit = Effect.fnUntraced(function* (
    messages: ReadonlyArray<GatewayMessage>, // at least one
    unknown: ReadonlyArray<string>
  ): Effect.fn.Return<Children, DatabaseUnavailable> {
    const { gatewayId, receivedAt, strategy, tenantId } = messages[0]!
    if (!strategy.autoCreateChildren) return admitChildren(unknown, 0, strategy).refused
    return yield* registry.register({ tenantId, gatewayId, identifiers: unknown, strategy, occurredAt: receivedAt })
  })

  return Effect.fnUntraced(function* (messages: ReadonlyArray<GatewayMessage>) {
    const byGateway = Map.groupBy(messages, ({ gatewayId }) => gatewayId)
    const asked = Array.from(byGateway, ([gatewayId, ofGateway]) => ({
      gatewayId,
      tenantId: ofGateway[0]!.tenantId,
      identifiers: identifiersIn(ofGateway)
    }))
    const known = yield* profiles.children(asked)
    const found = new Map<string, Map<string, RegisteredChild>>()
    const refused = new Map<GatewayMessage["strategy"], Map<string, Children>>()
    const typeIds = new Set<string>()
    for (const [gatewayId, ofGateway] of byGateway) {
      const ofThisGateway = new Map<string, RegisteredChild>(known.get(gatewayId))
      found.set(gatewayId, ofThisGateway)
      for (const [strategy, ofVersion] of Map.groupBy(ofGateway, (message) => message.strategy)) {
        const unknown = [...identifiersIn(ofVersion)].filter((identifier) => !ofThisGateway.has(identifier))
        if (unknown.length === 0) continue
        const admitted = yield* admit(ofVersion, unknown)
        const ofStrategy = refused.get(strategy) ?? new Map<string, Children>()
        refused.set(strategy, ofStrategy.set(gatewayId, admitted))
        for (const [identifier, child] of admitted) {
          if (!(child instanceof Poison)) ofThisGateway.set(identifier, child)
        }
      }
      for (const { deviceTypeId } of ofThisGateway.values()) typeIds.add(deviceTypeId)
    }
    const childOf = ({ gatewayId, strategy }: GatewayMessage, identifier: string): Child | undefined =>
      found.get(gatewayId)?.get(identifier) ?? refused.get(strategy)?.get(gatewayId)?.get(identifier)
    const types = yield* profiles.deviceTypes(typeIds)
    const resolve: Resolve = (message, identifier) =>
      resolved(childOf(message, identifier), identifier, message.configAt, types)
    return resolve
  })
})
