/**
 * An OpenTelemetry collector on the loopback interface that keeps the spans it is sent as OTLP/JSON.
 * @module
 */
import { Effect } from "effect"
import { createServer } from "node:http"

export interface CollectedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly status: { readonly code: number }
  readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: Readonly<Record<string, unknown>> }>
}

interface Exported {
  readonly resourceSpans: ReadonlyArray<{
    readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<CollectedSpan> }>
  }>
}

export const collector = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly spans: Array<CollectedSpan>; readonly close: () => void }>(
    (resume) => {
      const spans: Array<CollectedSpan> = []
      const server = createServer((request, response) => {
        const parts: Array<Buffer> = []
        request.on("data", (part: Buffer) => parts.push(part))
        request.on("end", () => {
          const body: Exported = JSON.parse(Buffer.concat(parts).toString())
          for (const { scopeSpans } of body.resourceSpans) for (const scope of scopeSpans) spans.push(...scope.spans)
          response.writeHead(request.url === "/v1/traces" ? 200 : 404).end("{}")
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, spans, close: () => server.close() }))
      })
    }
  ),
  ({ close }) => Effect.sync(close)
)

export const attribute = (span: CollectedSpan, name: string) => {
  const value = span.attributes.find(({ key }) => key === name)?.value
  return value === undefined ? undefined : Object.values(value)[0]
}
