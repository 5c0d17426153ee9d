/**
 * The shapes of the settings of tracing, apart from the exporter: the check of the settings is no reason to load that.
 * @module
 */
import { Config, Schema } from "effect"

export const Ratio = Schema.FiniteFromString.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
export const OtlpUrl = Schema.String.check(
  Schema.makeFilter((url: string) => (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) || "not a URL")
)
export const OtlpHeaders = Config.Record(Schema.String, Schema.StringFromUriComponent, "OTEL_EXPORTER_OTLP_HEADERS")
