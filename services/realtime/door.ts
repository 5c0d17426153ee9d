/**
 * How a connection comes in: over the port of the REST API, from a page that may, and with a token that is good.
 * @module
 */
import { MAX_TOKEN_LENGTH } from "@argusiq/domain/realtime/requests.ts"
import { Effect } from "effect"
import type { IncomingMessage, Server } from "node:http"

export const PATH = "/socket.io"

/** Whether a page of that origin may connect. What is no browser sends none. */
export const isOriginAllowed = (
  origin: string | undefined,
  host: string | undefined,
  allowed: ReadonlyArray<string>
): boolean => {
  if (origin === undefined) return true
  if (allowed.includes(origin)) return true
  return URL.canParse(origin) && host !== undefined && new URL(origin).host === host.toLowerCase()
}

/** The token of a handshake's `auth`; undefined where there is none that could be one. */
export const tokenOf = (auth: unknown): string | undefined => {
  const token: unknown = typeof auth === "object" && auth !== null ? Reflect.get(auth, "token") : undefined
  return typeof token === "string" && token.length > 0 && token.length <= MAX_TOKEN_LENGTH ? token : undefined
}

const isUnder = ({ url = "" }: IncomingMessage) => url.startsWith(`${PATH}/`) || url.startsWith(`${PATH}?`)

const keepUpgrades = () => {}

/** Until the scope closes, requests and upgrades under {@link PATH} go to the listeners of `inner` instead of those of `server`. */
export const divert = (server: Server, inner: Server) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { emit } = server
      const diverted = (event: string, ...values: ReadonlyArray<unknown>): boolean => {
        const isOurs = (event === "request" || event === "upgrade") && isUnder(values[0] as IncomingMessage)
        return isOurs ? inner.emit(event, ...values) : Reflect.apply(emit, server, [event, ...values])
      }
      server.emit = diverted
      // Without a listener Node would take an upgrade for a request.
      server.on("upgrade", keepUpgrades)
      return () => {
        server.off("upgrade", keepUpgrades)
        server.emit = emit
      }
    }),
    (restore) => Effect.sync(restore)
  )
