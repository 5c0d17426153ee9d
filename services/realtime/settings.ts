/**
 * What a deployment may say of live connections.
 * @module
 */
import { Config, Schema } from "effect"

const Count = Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.Int.check(Schema.isGreaterThan(0))))
const count = (name: string, usual: number) => Config.schema(Count, name).pipe(Config.withDefault(usual))

const isOrigin = (text: string) => URL.canParse(text) && new URL(text).origin === text
/** `https://host` or `https://host:port`, as browsers send it. */
export const Origin = Schema.String.check(Schema.makeFilter((text: string) => isOrigin(text) || "not an origin"))

export const originsConfig = Config.Array(Origin, "REALTIME_ORIGINS")

export const settings = Config.all({
  /** Of other sites whose pages may connect; those of the platform's own host always may. */
  origins: originsConfig.pipe(Config.withDefault([])),
  maxConnections: count("REALTIME_MAX_CONNECTIONS", 10_000),
  perUser: count("REALTIME_CONNECTIONS_PER_USER", 100),
  perOrganization: count("REALTIME_CONNECTIONS_PER_ORGANIZATION", 5_000),
  subscriptions: count("REALTIME_SUBSCRIPTIONS_PER_CONNECTION", 500)
})
export type Settings = Config.Success<typeof settings>
