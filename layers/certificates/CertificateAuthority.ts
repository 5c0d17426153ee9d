/**
 * The installation's certificate authority: the one that it makes for itself at its first use, or one that is given by path.
 * @module
 */
import { type Config, Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, webcrypto, X509Certificate } from "node:crypto"
import { chmod, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { keptSecret, secretsDirectory, type SecretUnreadable } from "../identity/keptSecret.ts"
import { randomSerial } from "./serial.ts"
import { sealingSecret } from "./sealing.ts"
import { authoritySettings } from "./settings.ts"
import { x509 } from "./x509.ts"

const YEARS = 10
const YEAR = 365.25 * 86_400_000
const BACKDATED_MILLIS = 60_000

/** The authority that the settings name cannot be used. */
export class AuthorityUnusable extends Schema.TaggedError<AuthorityUnusable>()("AuthorityUnusable", {
  path: Schema.String,
  why: Schema.String
}) {
  override get message() {
    return `The certificate authority in ${this.path} cannot be used: ${this.why}`
  }
}

export interface Authority {
  /** Where its certificate lies. */
  readonly path: string
  /** PEM: the signing certificate first, then those above it. */
  readonly chain: string
  readonly certificate: x509.X509Certificate
  readonly signingKey: webcrypto.CryptoKey
  readonly signingAlgorithm: { readonly name: string; readonly hash: string }
  /** What a revocation list is signed with, and what it names. */
  readonly signing: {
    /** DER of its own subject. */
    readonly issuerName: Uint8Array
    /** Its subject key identifier, where its certificate has one. */
    readonly keyId: Uint8Array | undefined
    readonly privateKey: KeyObject
    readonly signature: Signature
  }
}

/** Object id and digest of a signature. */
interface Signature {
  readonly id: string
  readonly digest: "sha256" | "sha384"
}

const ecP256 = { name: "ECDSA", namedCurve: "P-256" } as const

/** What it takes to sign with a key; undefined: of a kind that is not used. */
const signingOf = (key: KeyObject) => {
  const curve = key.asymmetricKeyDetails?.namedCurve
  if (key.asymmetricKeyType === "rsa") {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
    return { imported: algorithm, algorithm, signature: { id: "1.2.840.113549.1.1.11", digest: "sha256" } } as const
  }
  if (key.asymmetricKeyType !== "ec") return undefined
  if (curve === "prime256v1") {
    const algorithm = { name: "ECDSA", hash: "SHA-256" }
    return { imported: ecP256, algorithm, signature: { id: "1.2.840.10045.4.3.2", digest: "sha256" } } as const
  }
  if (curve !== "secp384r1") return undefined
  const algorithm = { name: "ECDSA", hash: "SHA-384" }
  const imported = { name: "ECDSA", namedCurve: "P-384" }
  return { imported, algorithm, signature: { id: "1.2.840.10045.4.3.3", digest: "sha384" } } as const
}

/** Key (encrypted PKCS #8) and certificate in one file, so that no start finds one without the other. */
const makeAuthority = async (passphrase: string): Promise<string> => {
  const keys = await webcrypto.subtle.generateKey(ecP256, true, ["sign", "verify"])
  const now = Date.now()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: `CN=ArgusIQ CA ${randomBytes(4).toString("hex")}`,
    notBefore: new Date(now - BACKDATED_MILLIS),
    notAfter: new Date(now + YEARS * YEAR),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)
    ]
  })
  const sealed = createPrivateKey({
    key: Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)),
    format: "der",
    type: "pkcs8"
  }).export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase })
  return `${String(sealed)}${certificate.toString("pem")}\n`
}

const pemBlocks = (text: string, label: string) =>
  [...text.matchAll(new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`, "g"))].map(([pem]) => `${pem}\n`)

const open = (path: string, certificates: string, keys: string, passphrase: string | undefined) =>
  Effect.tryPromise({
    try: async (): Promise<Authority> => {
      const chain = pemBlocks(certificates, "CERTIFICATE")
      const [pem] = chain
      if (pem === undefined) throw new Error("there is no certificate in it.")
      const [key] = pemBlocks(keys, "(?:[A-Z]+ )*PRIVATE KEY")
      if (key === undefined) throw new Error("there is no private key for it.")
      const parsed = new X509Certificate(pem)
      const privateKey = createPrivateKey({ key, ...(passphrase !== undefined && { passphrase }) })
      if (!parsed.ca) throw new Error("its certificate is none of an authority (basicConstraints CA).")
      if (!parsed.publicKey.equals(createPublicKey(privateKey)))
        throw new Error("its key belongs to another certificate.")
      if (parsed.validToDate.getTime() < Date.now()) throw new Error(`it has expired on ${parsed.validTo}.`)
      const signing = signingOf(privateKey)
      if (signing === undefined) throw new Error("its key is neither EC P-256, EC P-384 nor RSA.")
      const der = privateKey.export({ format: "der", type: "pkcs8" })
      const signingKey = await webcrypto.subtle.importKey("pkcs8", der, signing.imported, false, ["sign"])
      const certificate = new x509.X509Certificate(pem)
      const keyId = certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId
      return {
        path,
        chain: chain.join(""),
        certificate,
        signingKey,
        signingAlgorithm: signing.algorithm,
        signing: {
          issuerName: new Uint8Array(certificate.subjectName.toArrayBuffer()),
          keyId: keyId === undefined ? undefined : Buffer.from(keyId, "hex"),
          privateKey,
          signature: signing.signature
        }
      }
    },
    catch: (cause) => new AuthorityUnusable({ path, why: cause instanceof Error ? cause.message : String(cause) })
  })

const readGiven = (path: string) =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (cause) => new AuthorityUnusable({ path, why: `it cannot be read (${String(cause)}).` })
  })

/** For people and brokers, who need no key to read it. */
const publish = (path: string, chain: string) =>
  Effect.tryPromise(async () => {
    if ((await readFile(path, "utf8").catch(() => undefined)) === chain) return
    await writeFile(path, chain)
    await chmod(path, 0o644)
  }).pipe(Effect.ignore)

/** Opens the authority; makes it at its first use where the settings name none. */
export const openAuthority: Effect.Effect<Authority, AuthorityUnusable | SecretUnreadable | Config.ConfigError> =
  Effect.gen(function* () {
    const { certificateFile, keyFile, passphrase } = yield* authoritySettings
    const given = Option.getOrUndefined(Option.map(passphrase, Redacted.value))
    if (Option.isSome(certificateFile)) {
      const path = certificateFile.value
      if (Option.isNone(keyFile)) {
        return yield* new AuthorityUnusable({
          path,
          why: "set CERTIFICATE_CA_KEY_FILE to the file of its private key."
        })
      }
      return yield* open(path, yield* readGiven(path), yield* readGiven(keyFile.value), given)
    }
    const directory = yield* secretsDirectory
    const path = join(directory, "certificate-authority.pem")
    const secret = given ?? (yield* sealingSecret)
    const kept = yield* keptSecret(path, () => makeAuthority(secret))
    const authority = yield* open(path, kept, kept, secret)
    yield* publish(join(directory, "ca.crt"), authority.chain)
    return authority
  })

export class CertificateAuthority extends Context.Service<CertificateAuthority, Authority>()(
  "argusiq/layers/certificates/CertificateAuthority"
) {
  static readonly layer = Layer.effect(CertificateAuthority, openAuthority)
}
