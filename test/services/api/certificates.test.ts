import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { afterAll, assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { strFromU8, unzipSync } from "fflate"
import { spawnSync } from "node:child_process"
import { createPrivateKey, X509Certificate } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { debianProgram } from "../../support/components/debian.ts"
import { addOrganization, Api, apiServer, DataDirectory, withoutRequestId } from "./apiServer.ts"

const DAY = 86_400_000
const missing = "01890a5d-ac96-774b-bcce-b302099a8057"

/** What OpenSSL says in a directory of its own, whether it agrees or not. */
const openssl = (...parameters: ReadonlyArray<string>) => {
  const { stderr, stdout } = spawnSync(debianProgram("openssl", "openssl"), parameters, {
    cwd: workshop,
    encoding: "utf8"
  })
  return stdout + stderr
}
const workshop = mkdtempSync(join(tmpdir(), "argusiq-certificates-"))
afterAll(() => rmSync(workshop, { recursive: true, force: true }))

/** A key that stays where it is, and the request for it, as a device makes them. */
const request = (name: string, ...key: ReadonlyArray<string>) => {
  const kind = key.length === 0 ? ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] : key
  openssl(
    "req",
    "-new",
    ...kind,
    "-nodes",
    "-keyout",
    `${name}.key`,
    "-subj",
    "/CN=somebody else",
    "-out",
    `${name}.csr`
  )
  return readFileSync(join(workshop, `${name}.csr`), "utf8")
}

const session = Effect.gen(function* () {
  const api = yield* Api
  const token = yield* api.login()
  const call = (method: string, path: string, body?: unknown) => api.call(method, `/api/v1${path}`, { token, body })
  const { body: first } = yield* call("GET", `/devices/${api.firstDevice.deviceId}`)
  let added = 0
  const add = (more: object = {}) =>
    call("POST", "/devices", { name: `certified ${++added}`, deviceTypeId: first.deviceTypeId, ...more })
  const addId = Effect.map(add(), ({ body }): string => body.id)
  return { api, call, add, addId }
})

layer(apiServer, { excludeTestServices: true, timeout: 60_000 })("certificates of devices", (it) => {
  it.effect("a device is added as before, or together with a certificate that OpenSSL accepts for a client", () =>
    Effect.gen(function* () {
      const { add, call } = yield* session
      const plain = yield* add()
      assert.strictEqual(plain.status, 201, plain.text)
      assert.notProperty(plain.body, "certificate")
      const made = yield* add({ certificateValidityDays: 90 })
      assert.strictEqual(made.status, 201, made.text)
      assert.strictEqual(made.body.id, made.body.device.id)
      const { certificate } = made.body
      assert.strictEqual(certificate.deviceId, made.body.id)
      const parsed = new X509Certificate(certificate.certificate)
      assert.isTrue(parsed.checkPrivateKey(createPrivateKey(certificate.privateKey)))
      assert.strictEqual(parsed.subject, `CN=${made.body.id}`)
      assert.include(parsed.subjectAltName ?? "", `URI:urn:argusiq:device:${made.body.id}`)
      assert.include(parsed.subjectAltName ?? "", `URI:urn:argusiq:organization:${made.body.organizationId}`)
      assert.deepStrictEqual(parsed.keyUsage, ["1.3.6.1.5.5.7.3.2"])
      assert.strictEqual(parsed.serialNumber.length, 32)
      assert.closeTo(parsed.validToDate.getTime() - Date.now(), 90 * DAY, 60_000)
      assert.isFalse(parsed.ca)
      writeFileSync(join(workshop, "device.crt"), certificate.certificate)
      writeFileSync(join(workshop, "ca.crt"), certificate.caCertificate)
      assert.include(openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslclient", "device.crt"), "device.crt: OK")
      assert.notInclude(openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslserver", "device.crt"), "OK")
      const { body: listed } = yield* call("GET", `/certificates?deviceId=${made.body.id}`)
      assert.strictEqual(listed.items[0].serialNumber, certificate.serialNumber)
      assert.notInclude(JSON.stringify(listed), "PRIVATE KEY")
    })
  )

  it.effect("neither device nor certificate is there when one of them is refused", () =>
    Effect.gen(function* () {
      const { add, api, call } = yield* session
      for (const days of [0, 366, 1.5, "90"]) {
        assert.strictEqual((yield* add({ name: "refused", certificateValidityDays: days })).status, 400, String(days))
      }
      const { email } = yield* addOrganization("certificate-manager", "manager")
      const token = yield* api.login(email)
      const { body: type } = yield* call("GET", "/device-types")
      const body = { name: "refused", deviceTypeId: type.items[0].id, certificateValidityDays: 1 }
      assert.strictEqual((yield* api.call("POST", "/api/v1/devices", { token, body })).status, 403)
      const taken = { name: "refused", serialNumber: "taken", certificateValidityDays: 1 }
      yield* add({ serialNumber: "taken" })
      assert.strictEqual((yield* add(taken)).status, 409)
      assert.deepStrictEqual((yield* call("GET", "/devices?q=refused")).body.items, [])
    })
  )

  it.effect(
    "a request's key is certified and nothing else of it; the same request again gives the same certificate",
    () =>
      Effect.gen(function* () {
        const { addId, call } = yield* session
        const id = yield* addId
        const csr = request("honest")
        const made = yield* call("POST", `/devices/${id}/certificate`, { csr, validityDays: 1 })
        assert.strictEqual(made.status, 201, made.text)
        assert.notProperty(made.body, "privateKey")
        assert.notProperty(made.body, "downloadUrl")
        const parsed = new X509Certificate(made.body.certificate)
        assert.strictEqual(parsed.subject, `CN=${id}`)
        assert.isTrue(parsed.checkPrivateKey(createPrivateKey(readFileSync(join(workshop, "honest.key")))))
        const again = yield* call("POST", `/devices/${id}/certificate`, { csr, validityDays: 1 })
        assert.strictEqual(again.body.serialNumber, made.body.serialNumber)
        const other = yield* call("POST", `/devices/${yield* addId}/certificate`, { csr })
        assert.strictEqual(other.status, 422)
        assert.include(other.text, "another device")
      })
  )

  it.effect("a request is refused that is none, is not signed by its own key, or asks for a weak one", () =>
    Effect.gen(function* () {
      const { addId, call } = yield* session
      const path = `/devices/${yield* addId}/certificate`
      const honest = request("signed")
      // Another key in the place of the one that has signed.
      const der = Buffer.from(honest.replaceAll(/-----[^-]+-----|\s/g, ""), "base64")
      const foreign = Buffer.from(request("foreign").replaceAll(/-----[^-]+-----|\s/g, ""), "base64")
      const [at, from] = [der, foreign].map((one) => one.indexOf(Buffer.from("034200", "hex")))
      foreign.copy(der, at! + 3, from! + 3, from! + 3 + 65)
      const stolen = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`
      for (const [csr, why] of [
        ["-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", "PKCS #10"],
        ["hello", "PKCS #10"],
        [stolen, "private key"],
        [request("weak", "-newkey", "rsa:1024"), "2048"],
        [request("curve", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "P-256"]
      ] as const) {
        const answer = yield* call("POST", path, { csr })
        assert.strictEqual(answer.status, 422, answer.text)
        assert.strictEqual(answer.body.errors[0].path, "csr")
        assert.include(answer.body.errors[0].message, why)
      }
      assert.strictEqual((yield* call("POST", path, { csr: request("rsa", "-newkey", "rsa:2048") })).status, 201)
    })
  )

  it.effect(
    "a device has one certificate at a time; after a renewal the one before goes on for seven days at most",
    () =>
      Effect.gen(function* () {
        const { addId, call } = yield* session
        const id = yield* addId
        const path = `/devices/${id}/certificate`
        assert.strictEqual((yield* call("GET", path)).status, 404)
        assert.strictEqual((yield* call("POST", `${path}/renew`)).status, 409)
        const first = yield* call("POST", path)
        assert.strictEqual(first.body.state, "pending")
        assert.closeTo(Date.parse(first.body.validUntil) - Date.now(), 365 * DAY, 60_000)
        const twice = yield* call("POST", path)
        assert.strictEqual(twice.status, 409)
        assert.include(twice.body.detail, "renew or revoke")
        const next = yield* call("POST", `${path}/renew`, { validityDays: 3 })
        assert.strictEqual(next.status, 201, next.text)
        const { body } = yield* call("GET", `/certificates?deviceId=${id}&sort=createdAt`)
        const [before, present] = body.items
        assert.deepStrictEqual([before.state, present.state], ["renewed", "expiring"])
        assert.strictEqual(before.replacedBy, next.body.id)
        assert.closeTo(Date.parse(before.acceptedUntil) - Date.now(), 7 * DAY, 60_000)
        yield* call("POST", `${path}/renew`, { validityDays: 100 })
        const { body: after } = yield* call("GET", `/certificates?deviceId=${id}&sort=createdAt`)
        // The overlap is never longer than the certificate itself.
        assert.strictEqual(after.items[1].acceptedUntil, next.body.validUntil)
        assert.deepStrictEqual(
          after.items.map(({ state }: { state: string }) => state),
          ["renewed", "renewed", "pending"]
        )
      })
  )

  it.effect("the same renewal request again is the same renewal", () =>
    Effect.gen(function* () {
      const { addId, call } = yield* session
      const path = `/devices/${yield* addId}/certificate`
      yield* call("POST", path, { csr: request("before") })
      const csr = request("after")
      const once = yield* call("POST", `${path}/renew`, { csr })
      const again = yield* call("POST", `${path}/renew`, { csr })
      assert.deepStrictEqual([once.status, again.status], [201, 201])
      assert.strictEqual(again.body.serialNumber, once.body.serialNumber)
    })
  )

  it.effect("of ten who issue at the same time one gets a certificate", () =>
    Effect.gen(function* () {
      const { addId, call } = yield* session
      const path = `/devices/${yield* addId}/certificate`
      const answers = yield* Effect.forEach(Array.from({ length: 10 }), () => call("POST", path), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(answers.map(({ status }) => status).toSorted(), [201, ...Array<number>(9).fill(409)])
    })
  )

  it.effect(
    "a revocation ends all that a device has, stands in the list that OpenSSL reads, and comes again unchanged",
    () =>
      Effect.gen(function* () {
        const { addId, api, call } = yield* session
        const id = yield* addId
        const path = `/devices/${id}/certificate`
        assert.strictEqual((yield* call("POST", `${path}/revoke`, { reason: "keyCompromise" })).status, 404)
        const csr = request("revoked")
        const first = yield* call("POST", path, { csr })
        yield* call("POST", `${path}/renew`)
        const revoked = yield* call("POST", `${path}/revoke`, { reason: "keyCompromise" })
        assert.strictEqual(revoked.status, 200, revoked.text)
        assert.deepStrictEqual(Object.keys(revoked.body).toSorted(), ["revokedAt", "success"])
        assert.isTrue(revoked.body.success)
        const again = yield* call("DELETE", path)
        assert.deepStrictEqual(again.body, revoked.body)
        const { body } = yield* call("GET", `/certificates?deviceId=${id}&state=revoked`)
        assert.deepStrictEqual(
          body.items.map(({ revokedReason }: { revokedReason: string }) => revokedReason),
          ["keyCompromise", "keyCompromise"]
        )
        // A revoked key is nobody's any more.
        assert.strictEqual((yield* call("POST", path, { csr })).status, 422)
        assert.strictEqual((yield* call("POST", path)).status, 201)

        yield* Effect.sleep(2_100) // a list may be that old
        writeFileSync(join(workshop, "revoked.crt"), first.body.certificate)
        writeFileSync(join(workshop, "authority.crt"), (yield* api.call("GET", "/api/v1/ca.pem")).text)
        const list = yield* api.call("GET", "/crl.pem")
        assert.strictEqual(list.status, 200)
        writeFileSync(join(workshop, "crl.pem"), list.text)
        assert.include(openssl("crl", "-in", "crl.pem", "-CAfile", "authority.crt", "-noout"), "verify OK")
        const listed = openssl("crl", "-in", "crl.pem", "-noout", "-text")
        assert.include(listed, `Serial Number: ${first.body.serialNumber.toUpperCase()}`)
        assert.include(listed, "Key Compromise")
        const verify = ["verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "authority.crt"]
        assert.include(openssl(...verify, "revoked.crt"), "certificate revoked")
        const good = yield* call("GET", path)
        writeFileSync(join(workshop, "good.crt"), good.body.certificate)
        assert.include(openssl(...verify, "good.crt"), "good.crt: OK")
        const der = yield* Effect.promise(async () => (await fetch(`${api.url}/api/v1/crl.der`)).arrayBuffer())
        writeFileSync(join(workshop, "crl.der"), new Uint8Array(der))
        assert.include(
          openssl("crl", "-inform", "der", "-in", "crl.der", "-CAfile", "authority.crt", "-noout"),
          "verify OK"
        )
      })
  )

  it.effect("a device that is decommissioned or removed has no certificate any more, and the list says so", () =>
    Effect.gen(function* () {
      const { addId, api, call } = yield* session
      const serials: Array<string> = []
      for (const end of ["decommission", "remove"]) {
        const id = yield* addId
        serials.push((yield* call("POST", `/devices/${id}/certificate`)).body.serialNumber)
        const ended =
          end === "remove"
            ? yield* call("DELETE", `/devices/${id}`)
            : yield* call("POST", `/devices/${id}/decommission`)
        assert.isBelow(ended.status, 300, ended.text)
        if (end === "decommission") {
          assert.strictEqual((yield* call("POST", `/devices/${id}/certificate/renew`)).status, 409)
        }
      }
      yield* Effect.sleep(2_100)
      writeFileSync(join(workshop, "ended.pem"), (yield* api.call("GET", "/api/v1/crl.pem")).text)
      const listed = openssl("crl", "-in", "ended.pem", "-noout", "-text")
      for (const serial of serials) assert.include(listed, serial.toUpperCase())
    })
  )

  it.effect("the download is a zip that is given once to whoever has its address", () =>
    Effect.gen(function* () {
      const { addId, api, call } = yield* session
      const id = yield* addId
      const made = yield* call("POST", `/devices/${id}/certificate`)
      assert.closeTo(Date.parse(made.body.downloadExpiresAt) - Date.now(), 15 * 60_000, 10_000)
      const sql = yield* OwnerSql
      const [row] = yield* sql<{ sealed: Uint8Array }>`
        select sealed from certificate_bundles where certificate_id = ${made.body.id}`
      assert.notInclude(Buffer.from(row!.sealed).toString("latin1"), "device.key")
      const wrong = yield* api.call("GET", made.body.downloadUrl.replace(/.$/, "~"))
      const elsewhere = yield* api.call("GET", made.body.downloadUrl.replace(id, missing))
      assert.deepStrictEqual([wrong.status, elsewhere.status], [404, 404])
      const fetched = yield* Effect.promise(() =>
        Promise.all(
          Array.from({ length: 5 }, async () => {
            const answer = await fetch(api.url + made.body.downloadUrl)
            return { status: answer.status, bytes: new Uint8Array(await answer.arrayBuffer()) }
          })
        )
      )
      assert.deepStrictEqual(fetched.map(({ status }) => status).toSorted(), [200, 404, 404, 404, 404])
      const files = unzipSync(fetched.find(({ status }) => status === 200)!.bytes)
      assert.sameMembers(Object.keys(files), ["device.crt", "device.key", "ca.crt", "config.json"])
      assert.strictEqual(strFromU8(files["device.key"]!), made.body.privateKey)
      assert.strictEqual(strFromU8(files["device.crt"]!), made.body.certificate)
      const config = JSON.parse(strFromU8(files["config.json"]!))
      assert.deepInclude(config.broker, { host: "localhost", port: 8883 })
      assert.strictEqual(config.clientId, id)
      assert.deepInclude(config.topics.publish, `devices/${id}/telemetry`)
      const [erased] = yield* sql`select sealed, used_at is not null as used from certificate_bundles
        where certificate_id = ${made.body.id}`
      assert.deepStrictEqual(erased, { sealed: null, used: true })
    })
  )

  it.effect("a download is gone when its time is over or its certificate is revoked", () =>
    Effect.gen(function* () {
      const { addId, api, call } = yield* session
      const id = yield* addId
      const late = yield* call("POST", `/devices/${id}/certificate`)
      const sql = yield* OwnerSql
      yield* sql`update certificate_bundles set expires_at = now() where certificate_id = ${late.body.id}`
      assert.strictEqual((yield* api.call("GET", late.body.downloadUrl)).status, 404)
      const renewed = yield* call("POST", `/devices/${id}/certificate/renew`)
      yield* call("DELETE", `/devices/${id}/certificate`)
      assert.strictEqual((yield* api.call("GET", renewed.body.downloadUrl)).status, 404)
    })
  )

  it.effect("lists are of the organization's own, by their end, by state, and by what ends soon", () =>
    Effect.gen(function* () {
      const { addId, api, call } = yield* session
      const [soon, later] = [yield* addId, yield* addId]
      yield* call("POST", `/devices/${soon}/certificate`, { validityDays: 5 })
      yield* call("POST", `/devices/${later}/certificate`, { validityDays: 40 })
      const idsOf = (query: string) =>
        Effect.map(call("GET", `/certificates?limit=500&${query}`), ({ body }) =>
          body.items.map(({ deviceId }: { deviceId: string }) => deviceId)
        )
      const within10 = yield* idsOf("expiringInDays=10")
      assert.include(within10, soon)
      assert.notInclude(within10, later)
      assert.includeMembers(yield* idsOf("expiringInDays=50"), [soon, later])
      assert.include(yield* idsOf("state=expiring"), soon)
      assert.notInclude(yield* idsOf("state=pending"), soon)
      const { body } = yield* call("GET", "/certificates?limit=500")
      const ends = body.items.map(({ validUntil }: { validUntil: string }) => validUntil)
      assert.deepStrictEqual(ends, ends.toSorted())
      const paged: Array<string> = []
      for (let cursor: string | null = ""; cursor !== null;) {
        const page: { body: { items: Array<{ id: string }>; nextCursor: string | null } } = yield* call(
          "GET",
          `/certificates?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`
        )
        paged.push(...page.body.items.map(({ id }) => id))
        cursor = page.body.nextCursor
      }
      assert.strictEqual(new Set(paged).size, body.items.length)
      const { email } = yield* addOrganization("certificate-stranger")
      const stranger = yield* api.login(email)
      assert.deepStrictEqual((yield* api.call("GET", "/api/v1/certificates", { token: stranger })).body.items, [])
    })
  )

  it.effect("another tenant's device answers exactly as a missing one", () =>
    Effect.gen(function* () {
      const { addId, api, call } = yield* session
      const id = yield* addId
      yield* call("POST", `/devices/${id}/certificate`)
      const { email } = yield* addOrganization("certificate-thief")
      const token = yield* api.login(email)
      for (const [method, path, body] of [
        ["GET", "", undefined],
        ["POST", "", {}],
        ["POST", "/renew", {}],
        ["POST", "/revoke", { reason: "mine" }],
        ["DELETE", "", undefined]
      ] as const) {
        const [there, absent] = yield* Effect.forEach([id, missing], (device) =>
          api.call(method, `/api/v1/devices/${device}/certificate${path}`, { token, body })
        )
        assert.strictEqual(there!.status, 404, `${method} ${path}: ${there!.text}`)
        assert.deepStrictEqual(withoutRequestId(there!.body), withoutRequestId(absent!.body))
      }
      assert.strictEqual((yield* call("GET", `/devices/${id}/certificate`)).body.revokedAt, null)
    })
  )

  it.effect("the authority is made once, its key lies sealed in a file that only its user may read", () =>
    Effect.gen(function* () {
      const directory = yield* DataDirectory
      const path = join(directory, "certificate-authority.pem")
      assert.strictEqual(statSync(path).mode & 0o777, 0o600)
      assert.strictEqual(statSync(join(directory, "sealing-key")).mode & 0o777, 0o600)
      const kept = readFileSync(path, "utf8")
      assert.include(kept, "BEGIN ENCRYPTED PRIVATE KEY")
      const authority = new X509Certificate(readFileSync(join(directory, "ca.crt")))
      assert.isTrue(authority.ca)
      assert.closeTo(authority.validToDate.getTime() - Date.now(), 10 * 365.25 * DAY, DAY)
      assert.deepStrictEqual(
        readdirSync(directory).filter((name) => name.startsWith("certificate-authority")),
        ["certificate-authority.pem"]
      )
    })
  )
})
