/**
 * The X.509 library on Node's own cryptography.
 * @module
 */
import "reflect-metadata"
import * as x509 from "@peculiar/x509"
import { webcrypto } from "node:crypto"

x509.cryptoProvider.set(webcrypto)

export { x509 }
