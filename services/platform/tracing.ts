/**
 * OpenTelemetry: where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, spans of requests, of batches and of sampled messages go there.
 * @module
 */
import { CurrentMessageTracing, MessageTracing } from "@argusiq/layers/tracing/MessageTracing.ts"
import { Config, Context, Effect, Layer, Option, Tracer } from "effect"
import { FetchHttpClient } from "effect/http"
import { OtlpExporter, OtlpSerialization, OtlpTracer } from "effect/observability"
import { OtlpHeaders, OtlpUrl, Ratio } from "./tracingSettings.ts"
import { version } from "./version.ts"

const settings = Config.all({
  endpoint: Config.option(Config.schema(OtlpUrl, "OTEL_EXPORTER_OTLP_ENDPOINT")),
  headers: Config.option(OtlpHeaders),
  protocol: Config.Literals(["http/protobuf", "http/json"], "OTEL_EXPORTER_OTLP_PROTOCOL").pipe(
    Config.withDefault("http/protobuf" as const)
  ),
  serviceName: Config.String("OTEL_SERVICE_NAME").pipe(Config.withDefault("argusiq")),
  requests: Config.schema(Ratio, "OTEL_TRACES_SAMPLER_ARG").pipe(Config.withDefault(0.1)),
  messages: Config.schema(Ratio, "TRACE_MESSAGES_RATIO").pipe(Config.withDefault(0))
})

/** What begins a trace of its own, whatever it runs under; unless somebody outside has begun it. */
const begins: ReadonlySet<Tracer.SpanKind> = new Set(["server", "consumer"])

/**
 * Of requests and batches a part is recorded, with what is below; a caller's own decision holds. What the platform does of
 * itself is not: its spans would never end.
 */
export const sampling = (tracer: Tracer.Tracer, ratio: number): Tracer.Tracer => {
  const ours = new WeakSet<object>()
  return Tracer.make({
    span: (options) => {
      const parent = Option.getOrUndefined(options.parent)
      const isOutside = parent === undefined || (parent._tag === "Span" && !ours.has(parent))
      const span =
        begins.has(options.kind) && parent?._tag !== "ExternalSpan"
          ? tracer.span({ ...options, parent: Option.none(), root: true, sampled: Math.random() < ratio })
          : tracer.span(isOutside ? { ...options, sampled: false } : options)
      ours.add(span)
      return span
    }
  })
}

/** Nothing where no endpoint is set. A wrong value counts as none here: the check of the settings names it. */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { endpoint, headers, messages, protocol, requests, serviceName } = yield* settings
    if (Option.isNone(endpoint)) return Layer.empty
    const url = `${endpoint.value.replace(/\/+$/, "")}/v1/traces`
    const exporting = OtlpTracer.make({
      url,
      resource: { serviceName, serviceVersion: version, attributes: { "process.pid": process.pid } },
      headers: Option.getOrUndefined(headers),
      exportInterval: "2 seconds"
    })
    return Layer.effectContext(
      Effect.map(exporting, (tracer) =>
        Context.empty().pipe(
          Context.add(Tracer.Tracer, sampling(tracer, requests)),
          Context.add(CurrentMessageTracing, new MessageTracing(tracer, messages))
        )
      )
    ).pipe(
      Layer.provide(OtlpExporter.layerFlusher),
      Layer.provide(protocol === "http/json" ? OtlpSerialization.layerJson : OtlpSerialization.layerProtobuf),
      Layer.provide(FetchHttpClient.layer)
    )
  }).pipe(Effect.orElseSucceed(() => Layer.empty))
)
