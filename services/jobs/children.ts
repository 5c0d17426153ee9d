/**
 * The children that a page of gateways' messages names. Those that are new are created, as they would have been at the time.
 * @module
 */
import { type Demultiplexed, identifiersOf } from "@argusiq/domain/demultiplex.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { type SentMessage } from "@argusiq/domain/reprocess.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { GatewayChildren, type RegisteredChild } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Effect } from "effect"

export interface GatewayMessage {
  readonly sent: SentMessage
  readonly demultiplexed: Demultiplexed
}

export interface Children {
  readonly of: (sent: SentMessage, identifier: string) => RegisteredChild | Poison
  readonly deviceTypeIds: ReadonlySet<string>
}

const strategyOf = ({ compiled: { config } }: SentMessage) =>
  config.demuxStrategy !== undefined && "childDevicesPath" in config.demuxStrategy ? config.demuxStrategy : undefined

const unknownChild = (identifier: string) =>
  new Poison({ reason: "UnknownChildDevice", message: `The gateway has no child "${identifier}".` })

export const makeChildren = Effect.gen(function* () {
  const profiles = yield* Profiles
  const registry = yield* GatewayChildren
  return Effect.fnUntraced(function* (messages: ReadonlyArray<GatewayMessage>) {
    const byGateway = Map.groupBy(messages, ({ sent }) => sent.deviceId)
    const identifiersIn = (some: ReadonlyArray<GatewayMessage>) =>
      identifiersOf(some.map(({ demultiplexed }) => demultiplexed))
    const asked = Array.from(byGateway, ([gatewayId, ofGateway]) => ({
      gatewayId,
      tenantId: ofGateway[0]!.sent.tenantId,
      identifiers: identifiersIn(ofGateway)
    }))
    const known = messages.length === 0 ? new Map() : yield* profiles.children(asked)
    const found = new Map<string, Map<string, RegisteredChild | Poison>>()
    for (const [gatewayId, ofGateway] of byGateway) {
      const children = new Map<string, RegisteredChild | Poison>(known.get(gatewayId))
      found.set(gatewayId, children)
      for (const [strategy, ofVersion] of Map.groupBy(ofGateway, ({ sent }) => strategyOf(sent))) {
        const identifiers = [...identifiersIn(ofVersion)].filter((identifier) => !children.has(identifier))
        if (strategy === undefined || identifiers.length === 0) continue
        const { receivedAt: occurredAt, tenantId } = ofVersion[0]!.sent
        const registered = yield* registry.register({ tenantId, gatewayId, identifiers, strategy, occurredAt })
        for (const [identifier, child] of registered) children.set(identifier, child)
      }
    }
    const deviceTypeIds = new Set<string>()
    for (const children of found.values()) {
      for (const child of children.values()) if (!(child instanceof Poison)) deviceTypeIds.add(child.deviceTypeId)
    }
    const children: Children = {
      of: ({ deviceId }, identifier) => {
        const child = found.get(deviceId)?.get(identifier)
        return child ?? unknownChild(identifier)
      },
      deviceTypeIds
    }
    return children
  })
})
