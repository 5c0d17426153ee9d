import { assert, layer } from "@effect/vitest"
import { x509 } from "@argusiq/layers/certificates/x509.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect, Exit } from "effect"
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { CertificateAuthority } from "@argusiq/layers/certificates/CertificateAuthority.ts"
import { promisify } from "node:util"
import { debianProgram } from "../../support/components/debian.ts"
import {
  certifiedBridge,
  certifiedClient,
  certify,
  forge,
  freshDevice,
  type Pair,
  revoke,
  strangeAuthority,
  tlsClient
} from "./certified.ts"
import {
  a1,
  b1,
  client,
  connectPacket,
  deadLetters,
  holding,
  marker,
  Mqtt,
  packet,
  publish,
  raw,
  shortTopic,
  type TestDevice,
  text,
  until
} from "./support.ts"

const run = promisify(execFile)
const ACCEPTED = "20020000"
const hex = (bytes: Buffer) => bytes.toString("hex")

/** CONNECT of MQTT 3.1.1 or 5 without user name and password. */
const bareConnect = (clientId: string, version: 4 | 5 = 4) => {
  const id = Buffer.from(clientId)
  return packet(
    0x10,
    Buffer.from([0, 4, 77, 81, 84, 84, version, 2, 0, 60]),
    ...(version === 5 ? [Buffer.from([0])] : []),
    Buffer.from([id.length >> 8, id.length & 255]),
    id
  )
}

const eventsOf = Effect.fnUntraced(function* (device: TestDevice) {
  const sql = yield* OwnerSql
  const rows = yield* sql<{ event_type: string; severity: string; message: string }>`
    select event_type, severity, payload ->> 'message' as message from system_events
    where entity_id = ${device.id} and tenant_id = ${device.org} order by sequence`
  return rows
})
/** Waits for the event, since it is stored behind the answer. */
const eventOf = Effect.fnUntraced(function* (device: TestDevice) {
  let events = yield* eventsOf(device)
  for (let waited = 0; events.length === 0 && waited < 200; waited++) events = yield* Effect.delay(eventsOf(device), 20)
  return events[0]
})

/** What becomes of a client that says CONNECT through TLS: the answer, or that it was closed without one. */
const answerTo = Effect.fnUntraced(function* (
  pair: Partial<Pair>,
  clientId: string,
  options: Parameters<typeof tlsClient>[0] = {}
) {
  const one = yield* tlsClient({ ...pair, ...options })
  one.write(bareConnect(clientId))
  yield* until("an answer or the end", () => one.received.length >= 4 || one.closed)
  return one.received.length > 0 ? hex(one.received) : "closed"
})

layer(certifiedBridge(), { excludeTestServices: true, timeout: 60_000 })("MQTT with certificates", (it) => {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it.effect(`lets a device in with its certificate alone, through ${version}, and stores what it publishes`, () =>
      Effect.gen(function* () {
        const device = yield* freshDevice
        const pair = yield* certify(device)
        const one = yield* certifiedClient(device, pair, { minVersion: version, maxVersion: version } as object)
        const mark = marker("certified")
        yield* publish(one, shortTopic(device), mark)
        const [record] = holding(yield* raw, mark)
        assert.strictEqual(record!.key, device.id)
        assert.strictEqual(record!.headers["tenant-id"], device.org)
      })
    )
  }

  it.effect("knows a device by its external id too, by user name, and together with its key", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const pair = yield* certify(device)
      const mark = marker("names")
      for (const options of [
        { clientId: device.externalId },
        { username: device.externalId },
        { username: device.id, password: device.key }
      ]) {
        const one = yield* certifiedClient(device, pair, options)
        yield* publish(one, shortTopic(device), mark)
      }
      const byKey = yield* client(device, { clientId: "by-key" })
      yield* publish(byKey, shortTopic(device), mark)
      assert.strictEqual(holding(yield* raw, mark).length, 4)
    })
  )

  it.effect("writes down when a certificate was first used", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const pair = yield* certify(device)
      const sql = yield* OwnerSql
      const used = Effect.map(
        sql<{ used: boolean }>`select first_used_at is not null as used from device_certificates where id = ${pair.id}`,
        ([row]) => row!.used
      )
      assert.isFalse(yield* used)
      yield* certifiedClient(device, pair)
      for (let waited = 0; !(yield* used) && waited < 100; waited++) yield* Effect.sleep(20)
      assert.isTrue(yield* used)
    })
  )

  const dayBefore = new Date(Date.now() - 86_400_000)
  const refusals: ReadonlyArray<
    readonly [
      string,
      (device: TestDevice) => Effect.Effect<Partial<Pair>, unknown, Effect.Services<ReturnType<typeof forge>>>,
      string | undefined
    ]
  > = [
    ["no certificate", () => Effect.succeed({}), undefined],
    [
      "an expired certificate",
      (device) =>
        forge(device, {
          known: true,
          validFrom: new Date(Date.now() - 2 * 86_400_000),
          validUntil: new Date(Date.now() - 1_000)
        }),
      "has expired"
    ],
    [
      "a certificate that is not valid yet",
      (device) => forge(device, { known: true, validFrom: new Date(Date.now() + 3_600_000) }),
      "not valid yet"
    ],
    [
      "a certificate of another authority",
      (device) => Effect.flatMap(strangeAuthority, (authority) => forge(device, { authority, known: true })),
      "has not signed"
    ],
    [
      "a certificate made for servers",
      (device) => forge(device, { known: true, usage: [x509.ExtendedKeyUsage.serverAuth] }),
      "not made for clients"
    ],
    ["a certificate for no named use", (device) => forge(device, { known: true, usage: [] }), "not made for clients"],
    ["a certificate that was never issued", (device) => forge(device), "does not know"],
    [
      "a revoked certificate",
      (device) => Effect.tap(certify(device), () => revoke(device)) as never,
      "revoked certificate"
    ],
    [
      "a renewed certificate after its overlap",
      (device) =>
        Effect.gen(function* () {
          const pair = yield* certify(device)
          yield* certify(device)
          const sql = yield* OwnerSql
          yield* sql`update device_certificates set accepted_until = ${dayBefore} where id = ${pair.id}`
          return pair
        }) as never,
      "overlap has ended"
    ],
    [
      "the certificate of a device that is not active",
      (device) =>
        Effect.gen(function* () {
          const pair = yield* certify(device)
          const sql = yield* OwnerSql
          yield* sql`update devices set status = 'inactive' where id = ${device.id}`
          return pair
        }) as never,
      "not active"
    ]
  ]
  for (const [what, pairOf, words] of refusals) {
    it.effect(
      `refuses ${what} at the handshake: nothing is answered, and an event tells of it where it names a device`,
      () =>
        Effect.gen(function* () {
          const device = yield* freshDevice
          const pair = yield* pairOf(device)
          assert.strictEqual(yield* answerTo(pair, device.id), "closed")
          const event = words === undefined ? undefined : yield* eventOf(device)
          assert.strictEqual(event?.event_type, words === undefined ? undefined : "CERTIFICATE_REFUSED")
          assert.include(event?.message ?? "", words ?? "")
        })
    )
  }

  it.effect("refuses TLS 1.1", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const pair = yield* certify(device)
      const exit = yield* Effect.exit(
        tlsClient({ ...pair, minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" })
      )
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect(
    "refuses another device's client id, user name and key, a made-up client id and none, each with its code",
    () =>
      Effect.gen(function* () {
        const device = yield* freshDevice
        const pair = yield* certify(device)
        for (const clientId of [a1.id, a1.externalId, b1.id, "made-up", ""]) {
          assert.strictEqual(yield* answerTo(pair, clientId), "20020002", clientId)
        }
        const codeOf = (options: object) =>
          Effect.map(
            Effect.flip(certifiedClient(device, pair, options)),
            (error) => (error as Error & { code?: number }).code
          )
        assert.strictEqual(yield* codeOf({ username: a1.id }), 4)
        assert.strictEqual(yield* codeOf({ username: device.id, password: a1.key }), 4)
        assert.strictEqual(yield* codeOf({ username: device.id, password: "wrong" }), 4)
        assert.strictEqual(yield* codeOf({ clientId: a1.id, protocolVersion: 5 }), 0x85)
        assert.include((yield* eventOf(device))?.message ?? "", "client id")
      })
  )

  it.effect("does not end another's connection by its client id, and keeps to its own topics", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const victim = yield* freshDevice
      const held = yield* certifiedClient(victim, yield* certify(victim))
      const pair = yield* certify(device)
      assert.strictEqual(yield* answerTo(pair, victim.id), "20020002")
      const one = yield* certifiedClient(device, pair)
      const mark = marker("trespass")
      yield* publish(one, shortTopic(victim), mark)
      yield* publish(one, `v1/telemetry/${b1.org}/${b1.id}`, mark)
      assert.strictEqual(holding(yield* raw, mark).length, 0)
      const reasons = holding(yield* deadLetters, mark).map((record) => [record.key, record.headers["dlq-reason"]])
      assert.sameDeepMembers(reasons, [
        [device.id, "InvalidTopic"],
        [device.id, "TenantMismatch"]
      ])
      const unhurt = marker("unhurt")
      yield* publish(held, shortTopic(victim), unhurt)
      assert.strictEqual(holding(yield* raw, unhurt).length, 1)
    })
  )

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it.effect(`resumes a ${version} session, and refuses it once the certificate is revoked`, () =>
      Effect.gen(function* () {
        const device = yield* freshDevice
        const pair = yield* certify(device)
        const options = { ...pair, minVersion: version, maxVersion: version }
        const first = yield* tlsClient(options)
        const sessions: Array<Buffer> = []
        first.socket.on("session", (session) => sessions.push(session))
        first.write(bareConnect(device.id))
        yield* until("CONNACK", () => hex(first.received) === ACCEPTED)
        const session = sessions.at(-1) ?? first.socket.getSession()!
        first.socket.destroy()

        // The ticket alone, without the certificate: the server remembers whose it was.
        const resumed = yield* tlsClient({ ...options, session })
        assert.isTrue(resumed.socket.isSessionReused())
        const again: Array<Buffer> = []
        resumed.socket.on("session", (one) => again.push(one))
        resumed.write(bareConnect(device.id))
        yield* until("CONNACK", () => hex(resumed.received) === ACCEPTED)
        resumed.socket.destroy()

        yield* revoke(device)
        yield* Effect.sleep(1_500)
        const ticket = again.at(-1) ?? session
        assert.strictEqual(
          yield* answerTo(pair, device.id, { session: ticket, minVersion: version, maxVersion: version }),
          "closed"
        )
        const bare = { session: ticket, minVersion: version, maxVersion: version }
        assert.strictEqual(yield* answerTo({}, device.id, bare), "closed")
      })
    )
  }

  it.effect("refuses at CONNECT what was revoked after the handshake", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const pair = yield* certify(device)
      const one = yield* tlsClient(pair)
      yield* Effect.sleep(200)
      yield* revoke(device)
      yield* Effect.sleep(1_500)
      assert.isFalse(one.closed)
      one.write(bareConnect(device.id))
      yield* until("the refusal", () => one.closed)
      assert.strictEqual(hex(one.received), "20020005")
    })
  )

  for (const [what, end] of [
    ["its certificate is revoked", revoke],
    [
      "its device is decommissioned",
      (device: TestDevice) =>
        Effect.flatMap(OwnerSql, (sql) => sql`update devices set status = 'decommissioned' where id = ${device.id}`)
    ],
    [
      "its device is removed",
      (device: TestDevice) => Effect.flatMap(OwnerSql, (sql) => sql`delete from devices where id = ${device.id}`)
    ]
  ] as const) {
    it.effect(`closes a live connection within five seconds after ${what}, and tells MQTT 5 why`, () =>
      Effect.gen(function* () {
        const device = yield* freshDevice
        const pair = yield* certify(device)
        const one = yield* tlsClient(pair)
        one.write(bareConnect(device.id, 5))
        yield* until("CONNACK", () => one.received.length > 4)
        one.received = Buffer.alloc(0)
        yield* Effect.sleep(1_200) // it has been looked at once
        const at = Date.now()
        yield* end(device)
        yield* until("the end", () => one.closed)
        assert.isBelow(Date.now() - at, 5_000)
        assert.strictEqual(hex(one.received), "e0028700")
      })
    )
  }

  it.effect("goes on with the certificate before a renewal and with the one after it", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const before = yield* certify(device)
      const held = yield* certifiedClient(device, before)
      const after = yield* certify(device)
      yield* Effect.sleep(1_500)
      assert.isTrue(held.connected)
      assert.strictEqual(yield* answerTo(before, device.id), ACCEPTED)
      assert.strictEqual(yield* answerTo(after, device.id), ACCEPTED)
    })
  )

  it.effect("shows a certificate that clients can check, for its names and addresses", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const pair = yield* certify(device)
      const byName = yield* tlsClient({ ...pair, servername: "localhost" })
      assert.isTrue(byName.socket.authorized)
      const exit = yield* Effect.exit(tlsClient({ ...pair, servername: "elsewhere.example" }))
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect("works with mosquitto_pub", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const pair = yield* certify(device)
      const directory = mkdtempSync(join(tmpdir(), "argusiq-mosquitto-"))
      writeFileSync(join(directory, "device.crt"), pair.cert)
      writeFileSync(join(directory, "device.key"), pair.key)
      writeFileSync(join(directory, "ca.crt"), (yield* CertificateAuthority).chain)
      const mark = marker("mosquitto")
      const { tlsPort } = yield* Mqtt
      const program = debianProgram("mosquitto_pub", "mosquitto-clients")
      const words = `-h localhost -p ${tlsPort} --cafile ca.crt --cert device.crt --key device.key -i ${device.id} -q 1`
      const send = (topic: string, ...more: ReadonlyArray<string>) =>
        Effect.promise(() =>
          run(program, [...words.split(" "), "-t", topic, "-m", mark, ...more], { cwd: directory }).then(
            () => "sent",
            (error: { stderr: string }) => error.stderr
          )
        )
      assert.strictEqual(yield* send(shortTopic(device)), "sent")
      assert.deepStrictEqual(holding(yield* raw, mark).map(text), [mark])
      assert.notStrictEqual(yield* send(shortTopic(device), "-i", a1.id), "sent")
      yield* revoke(device)
      yield* Effect.sleep(1_500)
      assert.notStrictEqual(yield* send(shortTopic(device)), "sent")
      rmSync(directory, { recursive: true })
      assert.strictEqual(holding(yield* raw, mark).length, 1)
    })
  )

  it.effect("refuses a plain client at the TLS door and a TLS client at the plain one, and lives on", () =>
    Effect.gen(function* () {
      const { port, tlsPort } = yield* Mqtt
      const plain = new (yield* Effect.promise(() => import("./support.ts"))).RawClient(tlsPort!)
      plain.write(connectPacket(a1))
      yield* until("the plain client is closed", () => plain.closed)
      const exit = yield* Effect.exit(tlsClient({ port }))
      assert.isTrue(Exit.isFailure(exit))
      const device = yield* freshDevice
      assert.strictEqual(yield* answerTo(yield* certify(device), device.id), ACCEPTED)
    })
  )
})
