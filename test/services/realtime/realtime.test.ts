import { type DeviceId } from "@argusiq/domain/ids.ts"
import { pushMark } from "@argusiq/layers/alarms/MarkFeed.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { type LiveClient } from "../../support/LiveClient.ts"
import { eventually } from "../../support/PlatformProcess.ts"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"
import {
  connect,
  eventOf,
  makeDevice,
  makeOrganization,
  normalized,
  nowMicros,
  People,
  serveLive,
  watch
} from "./world.ts"

const waitFor = <A>(what: string, seconds: number, condition: () => A | undefined) =>
  Effect.promise(() => eventually(what, seconds, condition, 10))

/** The client reads nothing more of its connection, as a browser does whose network hangs. */
const networkOf = ({ socket }: LiveClient) => {
  const transport = socket.io.engine.transport as unknown as {
    readonly ws: { readonly _socket: { pause(): void; resume(): void } }
  }
  return transport.ws._socket
}
const onlyWebSocket = { transports: ["websocket"] }

layer(Layer.merge(testBus, testDatabase), { excludeTestServices: true })("live connections", (it) => {
  it.effect("are told 10,000 events that come at once, each once and those of a device in their order", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const people = new People()
      const url = yield* serveLive(people)
      const [ours, theirs] = [yield* makeOrganization, yield* makeOrganization]
      const devices = [yield* makeDevice(ours), yield* makeDevice(ours), yield* makeDevice(ours)]
      const stranger = yield* makeDevice(theirs)
      const clients = yield* Effect.all([
        connect(url, people.token(ours)),
        connect(url, people.token(ours), { transports: ["polling"] }),
        connect(url, people.token(theirs))
      ])
      const told = Array.from({ length: 10_000 }, (_, number) => eventOf(ours, devices[number % 3]!, number))
      const began = Date.now()
      yield* bus.publish(told.map(({ record }) => record))
      yield* bus.publish([eventOf(theirs, stranger, 0).record])
      for (const client of clients.slice(0, 2)) {
        yield* waitFor("10,000 events", 60, () => (client.all("event:created").length >= 10_000 ? true : undefined))
        const heard = client.all("event:created")
        assert.deepStrictEqual(new Set(heard.map(({ eventId }) => eventId)), new Set(told.map(({ event }) => event.id)))
        assert.strictEqual(heard.length, 10_000)
        for (const device of devices) {
          const numbers = heard
            .filter(({ entityId }) => entityId === device)
            .map(({ payload }) => payload["number"] as number)
          assert.deepStrictEqual(
            numbers,
            numbers.toSorted((left, right) => left - right)
          )
        }
        assert.deepStrictEqual(client.all("refetch"), [])
        assert.deepStrictEqual(client.wrong.slice(0, 3), [])
      }
      yield* waitFor("their event", 10, () => clients[2].all("event:created")[0])
      assert.strictEqual(clients[2].heard.length, 1)
      console.log(`10,000 events to 2 clients: ${Date.now() - began} ms`)
    })
  )

  it.effect("that do not read lose telemetry, are told to read it again, and get every event", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const people = new People()
      const url = yield* serveLive(people)
      const ours = yield* makeOrganization
      const device = yield* makeDevice(ours)
      const slow = yield* connect(url, people.token(ours), onlyWebSocket)
      const quick = yield* connect(url, people.token(ours), onlyWebSocket)
      yield* Effect.all([watch(slow, device), watch(quick, device)])
      networkOf(slow).pause()
      // More than the kernel holds, and than a slow connection may have waiting.
      const events = Array.from({ length: 400 }, (_, number) => eventOf(ours, device, number, 20_000))
      yield* bus.publish(events.slice(0, 390).map(({ record }) => record))
      yield* waitFor("the events", 20, () => (quick.all("event:created").length === 390 ? true : undefined))
      yield* Effect.sleep(500) // until the quick one counts as such again
      for (let value = 1; value <= 5; value++) {
        yield* bus.publish([normalized(ours, device, [{ deviceId: device, metrics: { value } }])])
        yield* waitFor("a reading", 10, () =>
          quick.all("telemetry:new").find(({ metrics }) => metrics["value"] === value)
        )
      }
      yield* bus.publish(events.slice(390).map(({ record }) => record))
      assert.deepStrictEqual(slow.all("telemetry:new"), [])
      networkOf(slow).resume()
      yield* waitFor("every event", 20, () => (slow.all("event:created").length === 400 ? true : undefined))
      yield* waitFor("to be told", 5, () => slow.all("refetch").find(({ reason }) => reason === "slow"))
      assert.deepStrictEqual(slow.all("telemetry:new"), [])
      assert.deepStrictEqual(quick.all("refetch"), [])
      yield* bus.publish([normalized(ours, device, [{ deviceId: device, metrics: { value: 6 } }])])
      yield* waitFor("telemetry again", 5, () => slow.all("telemetry:new")[0])
    })
  )

  it.effect("that take no events any more are closed, and hold up nobody", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const people = new People()
      const url = yield* serveLive(people)
      const ours = yield* makeOrganization
      const device = yield* makeDevice(ours)
      const stuck = yield* connect(url, people.token(ours), onlyWebSocket)
      const quick = yield* connect(url, people.token(ours), onlyWebSocket)
      networkOf(stuck).pause()
      const events = Array.from({ length: 2_000 }, (_, number) => eventOf(ours, device, number, 20_000))
      // Each time no more than a quick one may have waiting, whatever else keeps this process busy.
      for (let sent = 0; sent < events.length; sent += 100) {
        yield* bus.publish(events.slice(sent, sent + 100).map(({ record }) => record))
        yield* waitFor("every event", 30, () => (quick.all("event:created").length === sent + 100 ? true : undefined))
      }
      networkOf(stuck).resume()
      yield* waitFor("its end", 10, () => stuck.disconnected[0])
      assert.isBelow(stuck.all("event:created").length, 2_000)
      assert.isTrue(quick.socket.connected)
    })
  )

  it.effect("end within 5 s with their session, and only those", () =>
    Effect.gen(function* () {
      const people = new People()
      const url = yield* serveLive(people)
      const ours = yield* makeOrganization
      const [one, other] = [people.token(ours), people.token(ours)]
      const [ends, lives] = [yield* connect(url, one), yield* connect(url, other)]
      people.end(one)
      const endedAt = Date.now()
      yield* waitFor("its end", 10, () => ends.disconnected[0])
      assert.isBelow(Date.now() - endedAt, 5_000)
      assert.deepInclude(ends.all("session:ended")[0], { reason: "ended" })
      assert.isTrue(lives.socket.connected)
    })
  )

  it.effect("cannot be handed to another user or organisation", () =>
    Effect.gen(function* () {
      const people = new People()
      const url = yield* serveLive(people)
      const [ours, theirs] = [yield* makeOrganization, yield* makeOrganization]
      const userId = randomUUID()
      const client = yield* connect(url, people.token(ours, "viewer", userId))
      const typeOf = (token: string) =>
        Effect.map(
          Effect.promise(() => client.ask("authenticate", { token })),
          (answer) => (answer.ok ? "ok" : answer.error.type)
        )
      assert.strictEqual(yield* typeOf(people.token(ours)), "forbidden")
      assert.strictEqual(yield* typeOf(people.token(theirs, "viewer", userId)), "forbidden")
      assert.strictEqual(yield* typeOf(people.token(ours, "viewer", userId)), "ok")
    })
  )

  it.effect("have limits: subscriptions of one, connections of a user and of an organisation, requests", () =>
    Effect.gen(function* () {
      const people = new People()
      const url = yield* serveLive(people, {
        REALTIME_SUBSCRIPTIONS_PER_CONNECTION: "2",
        REALTIME_CONNECTIONS_PER_USER: "2",
        REALTIME_CONNECTIONS_PER_ORGANIZATION: "3"
      })
      const ours = yield* makeOrganization
      const userId = randomUUID()
      const client = yield* connect(url, people.token(ours, "viewer", userId))
      const subscribe = (id: string) => Effect.promise(() => client.ask("subscribe", { entityType: "device", id }))
      const [one, two, three] = [yield* makeDevice(ours), yield* makeDevice(ours), yield* makeDevice(ours)]
      assert.deepStrictEqual(
        [yield* subscribe(one), yield* subscribe(one), yield* subscribe(two)],
        [{ ok: true }, { ok: true }, { ok: true }]
      )
      const refused = yield* subscribe(three)
      assert.strictEqual(refused.ok ? "ok" : refused.error.type, "too-many-subscriptions")
      yield* Effect.promise(() => client.ask("unsubscribe", { entityType: "device", id: one }))
      assert.deepStrictEqual(yield* subscribe(three), { ok: true })

      const refusal = (token: string) =>
        connect(url, token).pipe(
          Effect.as("connected"),
          Effect.catch(({ cause }) => Effect.succeed((cause as { type: string }).type))
        )
      assert.strictEqual(yield* refusal(people.token(ours, "viewer", userId)), "connected")
      assert.strictEqual(yield* refusal(people.token(ours, "viewer", userId)), "too-many-connections")
      assert.strictEqual(yield* refusal(people.token(ours)), "connected")
      assert.strictEqual(yield* refusal(people.token(ours)), "too-many-connections")
      assert.strictEqual(yield* refusal(people.token(yield* makeOrganization)), "connected")
      client.close()
      yield* waitFor("room for another", 5, () => (client.socket.connected ? undefined : true))
      yield* Effect.sleep(200)
      assert.strictEqual(yield* refusal(people.token(ours)), "connected")
    })
  )

  it.effect("answer a flood of requests with refusals, and go on", () =>
    Effect.gen(function* () {
      const people = new People()
      const url = yield* serveLive(people)
      const ours = yield* makeOrganization
      const client = yield* connect(url, people.token(ours))
      const asked = Array.from({ length: 2_000 }, () =>
        client.ask("unsubscribe", { entityType: "device", id: randomUUID() })
      )
      const answers = yield* Effect.promise(() => Promise.all(asked))
      const refused = answers.filter((answer) => !answer.ok && answer.error.type === "too-many-requests")
      assert.isAbove(refused.length, 500)
      assert.isAbove(answers.filter(({ ok }) => ok).length, 900)
      assert.isTrue(client.socket.connected)
    })
  )

  it.effect(
    "are told of a gateway's children by their own names, of no replay, and of nothing that is older than what they know",
    () =>
      Effect.gen(function* () {
        const bus = yield* Bus
        const people = new People()
        const url = yield* serveLive(people)
        const ours = yield* makeOrganization
        const gateway = yield* makeDevice(ours)
        const [child, sibling] = [yield* makeDevice(ours, gateway), yield* makeDevice(ours, gateway)]
        const client = yield* connect(url, people.token(ours))
        yield* watch(client, child)
        const at = nowMicros()
        const of = (deviceId: string, value: number, ts: number) => ({ deviceId, metrics: { value }, ts })
        yield* bus.publish([normalized(ours, gateway, [of(child, 1, at), of(sibling, 2, at)])])
        yield* waitFor("the child's reading", 10, () => client.all("telemetry:new")[0])
        const further = [
          normalized(ours, gateway, [of(child, 3, at + 1)], { "replay-job": randomUUID() }),
          normalized(ours, gateway, [of(child, 4, at + 1)], { "retry-group": "argusiq.one" }),
          normalized(ours, gateway, [of(child, 5, at - 1)]),
          normalized(ours, gateway, [of(child, 6, nowMicros() + 3_600_000_000)]),
          normalized(ours, gateway, [of(child, 7, at + 2)])
        ]
        for (const message of further) {
          yield* Effect.sleep(500) // so that each could be told by itself
          yield* bus.publish([message])
        }
        yield* waitFor("the last", 10, () => client.all("telemetry:new").find(({ metrics }) => metrics["value"] === 7))
        assert.deepStrictEqual(
          client.all("telemetry:new").map(({ deviceId, metrics }) => [deviceId, metrics["value"]]),
          [
            [child, 1],
            [child, 7]
          ]
        )
      })
  )

  it.effect("are told to read telemetry again when the platform was too far behind with it, and get every event", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const people = new People()
      /** For whom everything has been in the log for too long. */
      const late = Bus.of({
        ...bus,
        follow: (following, handle) =>
          bus.follow(
            { ...following, ...(following.skipAfterMillis !== undefined && { skipAfterMillis: -1_000 }) },
            handle
          )
      })
      const url = yield* serveLive(people).pipe(Effect.provideService(Bus, late))
      const ours = yield* makeOrganization
      const device = yield* makeDevice(ours)
      const client = yield* connect(url, people.token(ours))
      yield* watch(client, device)
      yield* bus.publish([normalized(ours, device, [{ deviceId: device, metrics: { value: 1 } }])])
      yield* bus.publish([eventOf(ours, device, 1).record])
      const told = yield* waitFor("to be told", 5, () => client.all("refetch")[0])
      assert.deepStrictEqual(told, { reason: "behind", entityType: "device", entityId: device as DeviceId })
      yield* waitFor("the event", 5, () => client.all("event:created")[0])
      assert.deepStrictEqual(client.all("telemetry:new"), [])
    })
  )

  it.effect("are told to read events again when what people did may have been missed, and hear of it again", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const people = new People()
      const url = yield* serveLive(people)
      const ours = yield* makeOrganization
      const device = yield* makeDevice(ours)
      const client = yield* connect(url, people.token(ours))
      const { event } = eventOf(ours, device, 1)
      yield* sql`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
        values (${event.id}, ${ours.tenantId}, 'DEVICE_OFFLINE', 'device', ${device}, 'info', now(), '{}'::jsonb)`
      const mark = pushMark(sql, { what: "event", id: event.id, tenantId: ours.tenantId })
      yield* mark
      yield* waitFor("the event", 5, () => client.all("event:updated")[0])
      assert.deepStrictEqual(client.all("refetch"), [])
      const cut = yield* sql`select pg_terminate_backend(pid) from pg_stat_activity
        where query ilike 'listen%alarm_marks%' and pid <> pg_backend_pid() and datname = current_database()`
      assert.isAtLeast(cut.length, 1)
      yield* waitFor("to be told", 10, () => client.all("refetch").find(({ reason }) => reason === "missed"))
      yield* mark
      yield* waitFor("the event again", 5, () => client.all("event:updated")[1])
      assert.deepStrictEqual(client.wrong, [])
    })
  )
})
