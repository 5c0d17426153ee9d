import * as Ingest from "@argusiq/bridge/Ingest.ts"
import { formatTraceparent, isSampled, parseTraceparent } from "@argusiq/domain/traceparent.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { CurrentMessageTracing, MessageTracing } from "@argusiq/layers/tracing/MessageTracing.ts"
import * as tracing from "@argusiq/platform/tracing.ts"
import { assert, describe, it, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Tracer } from "effect"
import { randomBytes } from "node:crypto"
import { recordsOf } from "../bus/ConsumerWorld.ts"
import { insertEndpoint, type TestDevice } from "../profiles/registry.ts"
import { readerOf, traceWhen, traceWorld, watchedBoiler, whileRunning } from "../trace/traceWorld.ts"
import { attribute, collector, type CollectedSpan } from "./collector.ts"

/** Runs with traces exported to the collector, as a process does that is configured so; they are all there afterwards. */
const exporting = <A, E, R>(url: string, settings: Readonly<Record<string, string>>, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.flatMap(
      Layer.build(
        Layer.provide(
          tracing.layer,
          ConfigProvider.layer(
            ConfigProvider.fromUnknown({
              OTEL_EXPORTER_OTLP_ENDPOINT: url,
              OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
              ...settings
            })
          )
        )
      ),
      (context) => Effect.provideContext(effect, context)
    )
  )

const accept = Effect.fnUntraced(function* (device: TestDevice, payload: unknown, traceparent?: string) {
  const ingest = yield* Ingest.Ingest
  const profile = (yield* (yield* Profiles).devices([device.deviceId])).get(device.deviceId)!
  const sender = { deviceId: profile.deviceId, tenantId: profile.tenantId }
  const ids = yield* ingest.accept(
    [
      {
        origin: { source: "http", sender, clientId: undefined },
        topic: undefined,
        contentType: undefined,
        payload: Buffer.from(JSON.stringify(payload)),
        traceparent
      }
    ],
    profile
  )
  return ids![0]!
})

const given = () =>
  formatTraceparent({ traceId: randomBytes(16).toString("hex"), spanId: randomBytes(8).toString("hex"), sampled: true })

/** `bridge receive` above `dispatcher process`, and so on: by the parent of each. */
const chainOf = (spans: ReadonlyArray<CollectedSpan>) => {
  const byId = new Map(spans.map((span) => [span.spanId, span]))
  return spans.map(({ name, parentSpanId }) => `${byId.get(parentSpanId ?? "")?.name ?? "outside"} > ${name}`)
}

layer(traceWorld, { excludeTestServices: true })("a sampled message", (it) => {
  it.effect("is one trace from the bridge to the activity, each stage the child of the one before", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint()
      yield* watchedBoiler(device)
      const { spans, url } = yield* collector
      const traceparent = given()
      const { spanId, traceId } = parseTraceparent(traceparent)!
      const id = yield* exporting(
        url,
        { OTEL_TRACES_SAMPLER_ARG: "0" },
        whileRunning()(
          Effect.gen(function* () {
            const id = yield* accept(device, { metrics: { t: 99 } }, traceparent)
            yield* accept(device, { metrics: { t: 1 } })
            const trace = yield* traceWhen(readerOf(device), id, ({ activities }) => activities.length > 0)
            assert.strictEqual(trace.traceId, traceId)
            yield* traceWhen(readerOf(device), id, ({ assets }) => (assets[0]?.reading ?? null) !== null)
            yield* Effect.sleep("500 millis")
            return id
          })
        ).pipe(Effect.provide(Ingest.layer))
      )
      assert.deepStrictEqual([...new Set(spans.map((span) => span.traceId))], [traceId])
      const chain = chainOf(spans)
      for (const expected of [
        "outside > bridge receive",
        "bridge receive > dispatcher process",
        "dispatcher process > normalizer process",
        "normalizer process > telemetry-writer process",
        "normalizer process > asset-health process",
        "asset-health process > asset-health process",
        "asset-health process > event-engine process",
        "normalizer process > event-engine process",
        "event-engine process > activity-creator process"
      ]) {
        assert.include(chain, expected)
      }
      const received = spans.find(({ name }) => name === "bridge receive")!
      assert.strictEqual(received.parentSpanId, spanId)
      assert.strictEqual(attribute(received, "argusiq.message.id"), id)
      const dispatched = spans.find(({ name }) => name === "dispatcher process")!
      assert.strictEqual(attribute(dispatched, "messaging.destination.name"), Topics.raw)
      assert.strictEqual(attribute(dispatched, "argusiq.device.id"), device.deviceId)
      for (const { endTimeUnixNano, startTimeUnixNano, status } of spans) {
        assert.strictEqual(status.code, 1)
        assert.isTrue(BigInt(endTimeUnixNano) >= BigInt(startTimeUnixNano))
      }
    })
  )

  it.effect(
    "is chosen by chance where nobody asked; batches have traces of their own, what the platform does of itself has none",
    () =>
      Effect.gen(function* () {
        const device = yield* insertEndpoint()
        const { spans, url } = yield* collector
        yield* exporting(
          url,
          { OTEL_TRACES_SAMPLER_ARG: "1", TRACE_MESSAGES_RATIO: "1" },
          whileRunning()(
            Effect.gen(function* () {
              const ids = [yield* accept(device, { metrics: { t: 1 } }), yield* accept(device, { metrics: { t: 2 } })]
              for (const id of ids) yield* traceWhen(readerOf(device), id, ({ status }) => status === "stored")
              yield* Effect.sleep("500 millis")
            })
          ).pipe(Effect.provide(Ingest.layer))
        ).pipe(Effect.withSpan("the process"))
        const received = spans.filter(({ name }) => name === "bridge receive")
        assert.strictEqual(received.length, 2)
        assert.strictEqual(new Set(received.map(({ traceId }) => traceId)).size, 2)
        const batch = spans.find(({ name }) => name === "telemetry-writer batch")
        assert.isDefined(batch)
        assert.isUndefined(batch!.parentSpanId)
        const [begun, recorded] = [
          spans.filter(({ parentSpanId }) => parentSpanId === undefined),
          spans.map(({ name }) => name)
        ]
        for (const { name } of begun) assert.match(name, /^bridge receive$| batch$/)
        assert.notInclude(recorded, "Lookups.make")
      })
  )

  it.effect("keeps its sender's traceparent on the bus where tracing is off, and what is none is dropped", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint()
      const traceparent = given()
      yield* Effect.gen(function* () {
        for (const sent of [traceparent, "00-zz", undefined]) yield* accept(device, { metrics: { t: 1 } }, sent)
      }).pipe(Effect.provide(Ingest.layer))
      const records = yield* recordsOf(Topics.raw, device.deviceId)
      assert.deepStrictEqual(
        records.map(({ headers }) => headers["traceparent"]),
        [traceparent, undefined, undefined]
      )
      assert.isUndefined(yield* CurrentMessageTracing)
    })
  )
})

describe("the sampling of messages", () => {
  const counting = () => {
    const begun: Array<string> = []
    const tracer = Tracer.make({
      span: (options) => {
        begun.push(options.name)
        return new Tracer.NativeSpan(options)
      }
    })
    return { begun, tracer }
  }

  it("begins at most 200 traces a second, however many senders ask", () => {
    const { begun, tracer } = counting()
    const tracing = new MessageTracing(tracer, 1)
    const from = Date.now()
    for (let message = 0; message < 10_000; message++) tracing.arrive(given(), {})
    const seconds = Math.floor(Date.now() / 1_000) - Math.floor(from / 1_000) + 1
    assert.isAtMost(begun.length, 200 * seconds)
    assert.isAtLeast(begun.length, 200)
  })

  it("leaves alone who said that it is not to be sampled, whatever the ratio", () => {
    const { begun, tracer } = counting()
    const unsampled = formatTraceparent({ ...parseTraceparent(given())!, sampled: false })
    assert.isUndefined(new MessageTracing(tracer, 1).arrive(unsampled, {}))
    assert.isUndefined(new MessageTracing(tracer, 0).arrive(undefined, {}))
    assert.deepStrictEqual(begun, [])
  })
})

describe("a traceparent", () => {
  it("is read only in the form of W3C, and tells in every form of its flags whether it is sampled", () => {
    const ids = `${"4b".repeat(16)}-${"a1".repeat(8)}`
    for (let flags = 0; flags < 256; flags++) {
      const text = `00-${ids}-${flags.toString(16).padStart(2, "0")}`
      assert.strictEqual(parseTraceparent(text)?.sampled, flags % 2 === 1, text)
      assert.strictEqual(isSampled(text), flags % 2 === 1, text)
    }
    for (const wrong of [
      "",
      `01-${ids}-01`,
      `00-${ids}-1`,
      `00-${"0".repeat(32)}-${"a1".repeat(8)}-01`,
      `00-${ids}-01 `
    ]) {
      assert.isUndefined(parseTraceparent(wrong), wrong)
    }
  })
})
