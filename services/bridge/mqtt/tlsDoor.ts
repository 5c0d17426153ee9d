/**
 * The door with TLS: what its server is made of, and who comes through it. A client is looked at when its handshake is
 * complete; only then does the connection read. Sessions may be resumed: their certificate is judged anew each time.
 * @module
 */
import { certificateRefusals, type CertificateRefusal } from "@argusiq/domain/certificate.ts"
import { type MqttClient } from "@argusiq/domain/mqtt-permission.ts"
import { openAuthority } from "@argusiq/layers/certificates/CertificateAuthority.ts"
import { keptServerIdentity, type ServerIdentity } from "@argusiq/layers/certificates/serverIdentity.ts"
import { mqttsHosts } from "@argusiq/layers/certificates/settings.ts"
import { type Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { type Context, Effect, Exit } from "effect"
import { createServer, type Server, type TLSSocket } from "node:tls"
import { judgeCertificate } from "../CertificateLogin.ts"
import { type PeerCertificate, peerCertificateOf } from "./peerCertificate.ts"

const LOOK_AT_OWN_EVERY = "12 hours"

export interface TlsDoorOptions {
  readonly handshakeTimeoutMillis: number
  /** The context of the fibers that judge. */
  readonly context: Context.Context<Profiles>
  /** A client has come through, with a certificate that lets it in or that cannot be judged at this moment. */
  entered(socket: TLSSocket, certificate: PeerCertificate): void
  refused(refusal: CertificateRefusal | "handshake", address: string, device: MqttClient | undefined): void
}

const contextOf = ({ certificate, privateKey }: ServerIdentity, chain: string) => ({
  key: privateKey,
  cert: certificate + chain,
  ca: chain,
  // Whoever has given an authority of their own need not have given what stands above it.
  allowPartialTrustChain: true,
  minVersion: "TLSv1.2" as const
})

const look = (socket: TLSSocket, { context, entered, refused }: TlsDoorOptions) => {
  const address = socket.remoteAddress ?? "an unknown address"
  socket.on("error", () => socket.destroy())
  const certificate = peerCertificateOf(socket)
  const fiber = Effect.runForkWith(context)(judgeCertificate(certificate))
  fiber.addObserver((exit) => {
    if (socket.destroyed) return
    if (Exit.isSuccess(exit) && exit.value._tag === "Refused") {
      refused(exit.value.refusal, address, exit.value.device)
      socket.destroy()
    } else if (certificate === undefined) socket.destroy()
    else entered(socket, certificate) // what could not be judged is judged again when it says who it is
  })
}

/** Makes the server, which does not listen yet. Its own certificate is made anew in time while the scope is open. */
export const makeTlsServer = Effect.fnUntraced(function* (options: TlsDoorOptions) {
  const authority = yield* openAuthority
  const hosts = yield* mqttsHosts
  const { identity } = yield* keptServerIdentity(authority, hosts)
  const server: Server = createServer({
    ...contextOf(identity, authority.chain),
    requestCert: true,
    // Here it would end the connection without a word to anybody: it is refused in `look`.
    rejectUnauthorized: false,
    handshakeTimeout: options.handshakeTimeoutMillis,
    noDelay: true
  })
  server.on("secureConnection", (socket: TLSSocket) => look(socket, options))
  server.on("tlsClientError", (_, socket) => {
    options.refused("handshake", socket.remoteAddress ?? "an unknown address", undefined)
    socket.destroy()
  })
  yield* Effect.sleep(LOOK_AT_OWN_EVERY).pipe(
    Effect.andThen(keptServerIdentity(authority, hosts)),
    Effect.tap(({ identity, replaced }) =>
      replaced ? Effect.sync(() => server.setSecureContext(contextOf(identity, authority.chain))) : Effect.void
    ),
    Effect.catch((error) => Effect.logError("The listener's certificate cannot be made anew", error)),
    Effect.forever,
    Effect.forkScoped
  )
  return server
})

/** For an event. */
export const refusalInWords = (refusal: CertificateRefusal, address: string, device: MqttClient) =>
  `A client at ${address} ${certificateRefusals[refusal]} (device ${device.deviceId}). It was refused. Renew the device's ` +
  "certificate if that client is the device; if it is not, revoke the certificate."
