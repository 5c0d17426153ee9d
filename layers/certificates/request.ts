/**
 * Certificate signing requests (PKCS #10): of one only the public key is used, once the sender has proved to have the private
 * one. Names and extensions that it asks for are ignored.
 * @module
 */
import { Result } from "effect"
import { createPublicKey, type KeyObject } from "node:crypto"
import { publicKeyDigestOf } from "./issue.ts"
import { x509 } from "./x509.ts"

export interface RequestedKey {
  readonly publicKey: x509.PublicKey
  /** SHA-256, hex. */
  readonly digest: string
}

const keyFault = (key: KeyObject): string | undefined => {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === "ec" && (namedCurve === "prime256v1" || namedCurve === "secp384r1")) return undefined
  if (key.asymmetricKeyType === "rsa" && modulusLength >= 2048 && modulusLength <= 4096) return undefined
  return "must be for a key of EC P-256, EC P-384 or RSA of 2048 to 4096 bits"
}

/** The key that a request in PEM asks a certificate for, or what is wrong with it. */
export const readRequest = async (pem: string): Promise<Result.Result<RequestedKey, string>> => {
  try {
    const request = new x509.Pkcs10CertificateRequest(pem)
    const fault = keyFault(
      createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: "der", type: "spki" })
    )
    if (fault !== undefined) return Result.fail(fault)
    if (!(await request.verify()))
      return Result.fail("is not signed with the private key that belongs to its public key")
    return Result.succeed({ publicKey: request.publicKey, digest: publicKeyDigestOf(request.publicKey.rawData) })
  } catch {
    return Result.fail("must be a certificate signing request (PKCS #10) in PEM")
  }
}
