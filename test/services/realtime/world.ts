/**
 * The service of live connections on a port of its own, over a real log and a real database; who a token belongs to is the
 * test's to say.
 * @module
 */
import type { Caller } from "@argusiq/domain/http/security.ts"
import type { TenantId } from "@argusiq/domain/ids.ts"
import type { Role } from "@argusiq/domain/permissions.ts"
import { eventRecord, type SystemEvent } from "@argusiq/domain/system-event.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { type Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { type AppSql, OwnerSql, type PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Identification } from "@argusiq/layers/identity/Identification.ts"
import { WatchableEntities } from "@argusiq/layers/realtime/WatchableEntities.ts"
import { serve } from "@argusiq/realtime/Realtime.ts"
import { ConfigProvider, Effect, Layer, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { LiveClient } from "../../support/LiveClient.ts"

export interface Organization {
  readonly tenantId: TenantId
  readonly deviceTypeId: string
}

export const makeOrganization = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const [tenantId, deviceTypeId] = [randomUUID() as TenantId, randomUUID()]
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}, 'T', ${tenantId})`
  yield* sql`insert into device_types (id, tenant_id, name, published_version) values (${deviceTypeId}, ${tenantId}, 'T', 1)`
  return { tenantId, deviceTypeId } satisfies Organization
})

export const makeDevice = Effect.fnUntraced(function* ({ deviceTypeId, tenantId }: Organization, parent?: string) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into devices (id, tenant_id, name, device_type_id, parent_device_id)
    values (${id}, ${tenantId}, ${id}, ${deviceTypeId}, ${parent ?? null}::uuid)`
  return id
})

/** Whom the tokens of a test belong to: what is taken out has ended. */
export class People {
  readonly #callers = new Map<string, Caller>()

  token({ tenantId }: Organization, role: Role = "viewer", userId: string = randomUUID()): string {
    const token = randomUUID()
    this.#callers.set(token, { kind: "user", userId, tenantId, role, isPlatformAdmin: false })
    return token
  }

  end(token: string): void {
    this.#callers.delete(token)
  }

  readonly layer = Layer.succeed(
    Identification,
    Identification.of({ identify: (token) => Effect.sync(() => this.#callers.get(token)) })
  )
}

/** Closed with the scope. */
export const serveLive = Effect.fnUntraced(function* (
  people: People,
  env: Readonly<Record<string, string>> = {}
): Effect.fn.Return<string, unknown, Bus | AppSql | PipelineSql | Scope.Scope> {
  const server = createServer((_, response) => void response.writeHead(404).end())
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", () => resolve()))),
    () => Effect.sync(() => server.closeAllConnections())
  )
  const context = yield* Layer.build(Layer.merge(people.layer, WatchableEntities.layer))
  yield* serve(server).pipe(
    Effect.provideContext(context),
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env)))
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

/** Connected; closed with the scope. */
export const connect = (url: string, token: string, options?: ConstructorParameters<typeof LiveClient>[2]) =>
  Effect.acquireRelease(
    Effect.tryPromise(() => new LiveClient(url, token, options).connect()),
    (client) => Effect.sync(() => client.close())
  )

export const watch = (client: LiveClient, id: string) => Effect.promise(() => client.watch("device", id))

const encoder = new TextEncoder()
export const nowMicros = () => Date.now() * 1_000

/** A message of the sender with readings of devices, as the normalizer publishes it. */
export const normalized = (
  { deviceTypeId, tenantId }: Organization,
  sender: string,
  readings: ReadonlyArray<{
    readonly deviceId: string
    readonly metrics: Record<string, unknown>
    readonly ts?: number
  }>,
  headers: Readonly<Record<string, string>> = {}
): BusRecord => {
  const receivedAt = nowMicros()
  const message = {
    messageId: randomUUID(),
    tenantId,
    deviceId: sender,
    receivedAt,
    readings: readings.map(({ deviceId, metrics, ts }) => ({
      readingId: randomUUID(),
      deviceId,
      ts: ts ?? receivedAt,
      deviceTypeId,
      typeVersion: 1,
      metrics
    }))
  }
  const isOfSender = readings.every(({ deviceId }) => deviceId === sender)
  return {
    topic: Topics.normalized,
    key: sender,
    value: encoder.encode(JSON.stringify(message)),
    headers: {
      "message-id": message.messageId,
      "tenant-id": tenantId,
      "device-id": sender,
      "received-at": String(receivedAt),
      source: "mqtt",
      ...(isOfSender && { "readings-of": "sender" }),
      ...headers
    }
  }
}

export const eventOf = (
  { tenantId }: Organization,
  entityId: string,
  number: number,
  padding = 0
): { readonly event: SystemEvent; readonly record: BusRecord } => {
  const event: SystemEvent = {
    id: randomUUID(),
    tenantId,
    entityType: "device",
    entityId,
    occurredAt: nowMicros(),
    eventType: "THRESHOLD_BREACH",
    severity: "warning",
    payload: { number, padding: "x".repeat(padding) }
  }
  return { event, record: eventRecord(event) }
}
