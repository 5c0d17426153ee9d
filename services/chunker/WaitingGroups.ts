/**
 * What waits in one partition: open groups for their chunks, claimed ones to be published. As the rows say: it is changed
 * only when they are committed. No payloads.
 * @module
 */
import { type ChunkGroup, isUnemitted } from "@argusiq/domain/chunks.ts"
import { idOf, type TenantGroup } from "@argusiq/layers/telemetry/Chunks.ts"

interface Gateway {
  readonly tenantId: string
  readonly open: Map<string, ChunkGroup> // by correlation id
}

export class WaitingGroups {
  readonly #gateways = new Map<string, Gateway>()
  readonly #claimed = new Map<string, TenantGroup>()
  #open = 0

  constructor(groups: Iterable<TenantGroup>) {
    for (const one of groups) this.put(one)
  }

  get openCount(): number {
    return this.#open
  }

  openOf(gatewayId: string): number {
    return this.#gateways.get(gatewayId)?.open.size ?? 0
  }

  open(gatewayId: string, correlationId: string): ChunkGroup | undefined {
    return this.#gateways.get(gatewayId)?.open.get(correlationId)
  }

  /** A group as it is from now on. */
  put(one: TenantGroup): void {
    const { group, tenantId } = one
    if (group.state === "open") {
      let gateway = this.#gateways.get(group.gatewayId)
      if (gateway === undefined) this.#gateways.set(group.gatewayId, (gateway = { tenantId, open: new Map() }))
      if (!gateway.open.has(group.correlationId)) this.#open++
      gateway.open.set(group.correlationId, group)
      return
    }
    this.#close(group)
    if (isUnemitted(group)) this.#claimed.set(idOf(group), one)
    else this.#claimed.delete(idOf(group))
  }

  #close({ correlationId, gatewayId, generation }: ChunkGroup): void {
    const gateway = this.#gateways.get(gatewayId)
    if (gateway?.open.get(correlationId)?.generation !== generation) return
    gateway.open.delete(correlationId)
    this.#open--
    if (gateway.open.size === 0) this.#gateways.delete(gatewayId)
  }

  /** Claimed groups to be published, the first claimed first, with payloads of so many bytes together, but at least one. */
  claimed(bytes: number): ReadonlyArray<TenantGroup> {
    const taken: Array<TenantGroup> = []
    let sum = 0
    for (const one of this.#claimed.values()) {
      sum += one.group.bytes
      if (taken.length > 0 && sum > bytes) break
      taken.push(one)
    }
    return taken
  }

  get claimedGroups(): number {
    return this.#claimed.size
  }

  *openGroups(): Iterable<ChunkGroup> {
    for (const { open } of this.#gateways.values()) yield* open.values()
  }

  /** Of an open group. */
  tenantOf({ gatewayId }: ChunkGroup): string | undefined {
    return this.#gateways.get(gatewayId)?.tenantId
  }
}
