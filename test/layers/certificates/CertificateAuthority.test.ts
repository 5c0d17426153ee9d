import { openAuthority } from "@argusiq/layers/certificates/CertificateAuthority.ts"
import { issueForDevice, issueForServer, makeKeys } from "@argusiq/layers/certificates/issue.ts"
import { makeRevocationList } from "@argusiq/layers/certificates/revocationList.ts"
import { sealingWith } from "@argusiq/layers/certificates/sealing.ts"
import { keptServerIdentity } from "@argusiq/layers/certificates/serverIdentity.ts"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect } from "effect"
import { spawnSync } from "node:child_process"
import { randomBytes, X509Certificate } from "node:crypto"
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { debianProgram } from "../../support/components/debian.ts"

const workshop = mkdtempSync(join(tmpdir(), "argusiq-authority-"))
afterAll(() => rmSync(workshop, { recursive: true, force: true }))
const at = (name: string) => join(workshop, name)
const openssl = (...parameters: ReadonlyArray<string>) => {
  const { stderr, stdout } = spawnSync(debianProgram("openssl", "openssl"), parameters, {
    cwd: workshop,
    encoding: "utf8"
  })
  return stdout + stderr
}

let directories = 0
const withSettings = (settings: Readonly<Record<string, string>>) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(settings)))
const freshDirectory = () => ({ ARGUSIQ_SECRETS_DIR: at(`secrets-${++directories}`) })

const deviceId = "01890a5d-ac96-774b-bcce-b302099a8057"
const issued = Effect.fnUntraced(function* (authority: Effect.Success<typeof openAuthority>) {
  const { publicKey } = yield* Effect.promise(makeKeys)
  return yield* Effect.promise(() =>
    issueForDevice(authority, { deviceId, tenantId: deviceId, publicKey, days: 365, crlUrl: undefined })
  )
})

/** An authority as a company has it: a root, and one below it that signs. */
const makeCompany = (kind: string, key: ReadonlyArray<string>, ...more: ReadonlyArray<string>) => {
  const ca = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
  openssl(
    "req",
    "-x509",
    ...key,
    "-nodes",
    "-keyout",
    `${kind}-root.key`,
    "-out",
    `${kind}-root.crt`,
    "-days",
    "30",
    "-subj",
    `/O=Company/CN=${kind} root`,
    ...ca
  )
  openssl(
    "req",
    "-new",
    ...key,
    ...(more.length > 0 ? more : ["-nodes"]),
    "-keyout",
    `${kind}.key`,
    "-out",
    `${kind}.csr`,
    "-subj",
    `/O=Company/CN=${kind} issuing`
  )
  writeFileSync(
    at("ca.ext"),
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
  )
  openssl(
    "x509",
    "-req",
    "-in",
    `${kind}.csr`,
    "-CA",
    `${kind}-root.crt`,
    "-CAkey",
    `${kind}-root.key`,
    "-CAcreateserial",
    "-days",
    "20",
    "-extfile",
    "ca.ext",
    "-out",
    `${kind}.crt`
  )
  writeFileSync(
    at(`${kind}-chain.pem`),
    readFileSync(at(`${kind}.crt`), "utf8") + readFileSync(at(`${kind}-root.crt`), "utf8")
  )
}
const ec = (curve: string) => ["-newkey", "ec", "-pkeyopt", `ec_paramgen_curve:${curve}`]

describe("the installation's own authority", () => {
  it.effect("is made once, also by ten who come at the same time, and opens again", () =>
    Effect.gen(function* () {
      const settings = freshDirectory()
      const opened = yield* Effect.forEach(
        Array.from({ length: 10 }),
        () => openAuthority.pipe(withSettings(settings)),
        {
          concurrency: "unbounded"
        }
      )
      assert.strictEqual(new Set(opened.map(({ chain }) => chain)).size, 1)
      const certificate = new X509Certificate(opened[0]!.chain)
      assert.isTrue(certificate.ca)
      assert.isTrue(certificate.verify(certificate.publicKey))
      assert.strictEqual(statSync(join(settings.ARGUSIQ_SECRETS_DIR, "certificate-authority.pem")).mode & 0o777, 0o600)
    })
  )

  it.effect("is sealed with the passphrase of the settings, and does not open with another", () =>
    Effect.gen(function* () {
      const settings = { ...freshDirectory(), CERTIFICATE_CA_PASSPHRASE: "one passphrase" }
      yield* openAuthority.pipe(withSettings(settings))
      yield* openAuthority.pipe(withSettings(settings))
      const other = { ...settings, CERTIFICATE_CA_PASSPHRASE: "another" }
      const error = yield* Effect.flip(openAuthority.pipe(withSettings(other)))
      assert.strictEqual(error._tag, "AuthorityUnusable")
      assert.include(error.message, "certificate-authority.pem cannot be used")
    })
  )

  it.effect("gives serial numbers of 128 bits that never come again", () =>
    Effect.gen(function* () {
      const authority = yield* openAuthority.pipe(withSettings(freshDirectory()))
      const serials = yield* Effect.forEach(Array.from({ length: 50 }), () =>
        Effect.map(issued(authority), ({ serialNumber }) => serialNumber)
      )
      assert.strictEqual(new Set(serials).size, 50)
      for (const serial of serials) assert.match(serial, /^[4-7][0-9a-f]{31}$/)
    })
  )
})

describe("an authority that is given by path", () => {
  for (const [kind, key] of [
    ["P-256", ec("P-256")],
    ["P-384", ec("P-384")],
    ["RSA", ["-newkey", "rsa:2048"]]
  ] as const) {
    it.effect(`signs devices, servers and lists that OpenSSL follows to the root: ${kind}`, () =>
      Effect.gen(function* () {
        makeCompany(kind, key)
        const authority = yield* openAuthority.pipe(
          withSettings({ CERTIFICATE_CA_FILE: at(`${kind}-chain.pem`), CERTIFICATE_CA_KEY_FILE: at(`${kind}.key`) })
        )
        const device = yield* issued(authority)
        const { publicKey } = yield* Effect.promise(makeKeys)
        const server = yield* Effect.promise(() =>
          issueForServer(authority, { hosts: ["mqtt.example.com", "10.0.0.1", "::1"], publicKey, days: 365 })
        )
        writeFileSync(at("device.crt"), device.pem)
        writeFileSync(at("server.crt"), server.pem)
        const verify = ["verify", "-CAfile", `${kind}-root.crt`, "-untrusted", `${kind}.crt`]
        assert.include(openssl(...verify, "-purpose", "sslclient", "device.crt"), "OK")
        assert.include(
          openssl(...verify, "-purpose", "sslserver", "-verify_hostname", "mqtt.example.com", "server.crt"),
          "OK"
        )
        assert.include(openssl(...verify, "-purpose", "sslserver", "-verify_ip", "::1", "server.crt"), "OK")
        // It ends with the authority, which ends in 20 days.
        assert.isBelow(device.validUntil.getTime() - Date.now(), 21 * 86_400_000)
        const { signing } = authority
        const revoked = [{ serialNumber: device.serialNumber, revokedAt: new Date(), reason: "superseded" }]
        writeFileSync(at("crl.pem"), makeRevocationList(signing, revoked, undefined).pem)
        assert.include(openssl("crl", "-in", "crl.pem", "-CAfile", `${kind}.crt`, "-noout"), "verify OK")
        const refusal = openssl(...verify, "-crl_check", "-CRLfile", "crl.pem", "device.crt")
        assert.include(refusal, "certificate revoked")
        writeFileSync(at("empty.pem"), makeRevocationList(signing, [], undefined).pem)
        assert.include(openssl(...verify, "-crl_check", "-CRLfile", "empty.pem", "device.crt"), "device.crt: OK")
      })
    )
  }

  it.effect("opens with an encrypted key, and says what is wrong with what is none", () =>
    Effect.gen(function* () {
      makeCompany("sealed", ec("P-256"), "-passout", "pass:sesame open")
      makeCompany("other", ec("P-256"))
      openssl(
        "req",
        "-x509",
        ...ec("P-256"),
        "-nodes",
        "-keyout",
        "leaf.key",
        "-out",
        "leaf.crt",
        "-subj",
        "/CN=leaf",
        "-addext",
        "basicConstraints=critical,CA:FALSE"
      )
      openssl(
        "req",
        "-x509",
        ...ec("secp256k1"),
        "-nodes",
        "-keyout",
        "curve.key",
        "-out",
        "curve.crt",
        "-subj",
        "/CN=curve"
      )
      const settings = (certificate: string, key: string | undefined, passphrase?: string) =>
        withSettings({
          CERTIFICATE_CA_FILE: at(certificate),
          ...(key !== undefined && { CERTIFICATE_CA_KEY_FILE: at(key) }),
          ...(passphrase !== undefined && { CERTIFICATE_CA_PASSPHRASE: passphrase })
        })
      yield* openAuthority.pipe(settings("sealed.crt", "sealed.key", "sesame open"))
      for (const [certificate, key, passphrase, why] of [
        ["sealed.crt", "sealed.key", "wrong", ""],
        ["sealed.crt", "other.key", undefined, "another certificate"],
        ["sealed.crt", undefined, undefined, "CERTIFICATE_CA_KEY_FILE"],
        ["sealed.crt", "absent.key", undefined, "cannot be read"],
        ["absent.crt", "other.key", undefined, "cannot be read"],
        ["sealed.csr", "other.key", undefined, "no certificate in it"],
        ["leaf.crt", "leaf.key", undefined, "none of an authority"],
        ["curve.crt", "curve.key", undefined, "neither EC P-256"]
      ] as const) {
        const error = yield* Effect.flip(openAuthority.pipe(settings(certificate, key, passphrase)))
        assert.strictEqual(error._tag, "AuthorityUnusable", certificate)
        assert.include(error.message, why)
        assert.notInclude(error.message, "sesame")
      }
    })
  )
})

describe("the listener's certificate", () => {
  it.effect("is kept while it is good, and made anew for other hosts, before its end, and for another authority", () =>
    Effect.gen(function* () {
      const settings = freshDirectory()
      const authority = yield* openAuthority.pipe(withSettings(settings))
      const kept = (hosts: ReadonlyArray<string>, by = authority) =>
        keptServerIdentity(by, hosts).pipe(withSettings(settings))
      const first = yield* kept(["localhost", "127.0.0.1"])
      assert.isTrue(first.replaced)
      assert.strictEqual(statSync(first.path).mode & 0o777, 0o600)
      const again = yield* kept(["localhost"])
      assert.deepStrictEqual([again.replaced, again.identity], [false, first.identity])
      const elsewhere = yield* kept(["mqtt.example.com"])
      assert.isTrue(elsewhere.replaced)
      const { publicKey } = yield* Effect.promise(makeKeys)
      const ending = yield* Effect.promise(() =>
        issueForServer(authority, { hosts: ["localhost"], publicKey, days: 29 })
      )
      writeFileSync(first.path, JSON.stringify({ certificate: ending.pem, privateKey: "" }))
      assert.isTrue((yield* kept(["localhost"])).replaced)
      const other = yield* openAuthority.pipe(withSettings(freshDirectory()))
      assert.isTrue((yield* kept(["localhost"], other)).replaced)
      writeFileSync(first.path, "not JSON")
      chmodSync(first.path, 0o600)
      assert.isTrue((yield* kept(["localhost"])).replaced)
    })
  )
})

describe("a seal", () => {
  it("opens for what it was made for, and for nothing else", () => {
    const secret = randomBytes(32).toString("base64url")
    const sealing = sealingWith(secret, "purpose")
    const sealed = sealing.seal(Buffer.from("the key"), "certificate 1")
    assert.strictEqual(sealing.open(sealed, "certificate 1")?.toString(), "the key")
    assert.isUndefined(sealing.open(sealed, "certificate 2"))
    assert.isUndefined(sealingWith(secret, "another purpose").open(sealed, "certificate 1"))
    assert.isUndefined(sealingWith(randomBytes(32).toString("base64url"), "purpose").open(sealed, "certificate 1"))
    for (let index = 0; index < sealed.length; index++) {
      const changed = Buffer.from(sealed)
      changed[index]! ^= 1
      assert.isUndefined(sealing.open(changed, "certificate 1"))
    }
    assert.isUndefined(sealing.open(sealed.subarray(0, 20), "certificate 1"))
    assert.notDeepEqual(sealing.seal(Buffer.from("the key"), "certificate 1"), sealed)
  })
})
