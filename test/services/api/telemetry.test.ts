import { randomUUID } from "node:crypto"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Answer, Api, apiServer } from "./apiServer.ts"

interface Frame {
  readonly at: string // ISO 8601, microseconds allowed
  readonly metrics: Readonly<Record<string, unknown>>
  readonly quality?: Readonly<Record<string, string>>
}
interface Point {
  readonly timestamp: string
  readonly value: unknown
  readonly quality?: string
}

const at = (hoursAgo: number) => new Date(Date.now() - hoursAgo * 3_600_000).toISOString()

layer(apiServer, { excludeTestServices: true })("telemetry", (it) => {
  /** A device of its own for each test, with these frames, written as the pipeline does. */
  const deviceWith = Effect.fnUntraced(function* (frames: ReadonlyArray<Frame>) {
    const api = yield* Api
    const token = yield* api.login()
    const { body: first } = yield* api.call("GET", `/api/v1/devices/${api.firstDevice.deviceId}`, { token })
    const { body: device } = yield* api.call("POST", "/api/v1/devices", {
      token,
      body: { name: "measuring", deviceTypeId: first.deviceTypeId }
    })
    const sql = yield* PipelineSql
    for (const { at, metrics, quality } of frames) {
      yield* sql`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
          source_device_id, config_version, metrics, quality)
        values (${device.organizationId}::uuid, 'device', ${device.id}::uuid, ${at}::timestamptz, ${randomUUID()}::uuid,
          ${randomUUID()}::uuid, ${at}::timestamptz, ${device.id}::uuid, 1, ${sql.json(metrics)},
          ${quality === undefined ? null : sql.json(quality)})`
    }
    const get = (rest: string, headers: Readonly<Record<string, string>> = {}) =>
      api.call("GET", `/api/v1/telemetry/device/${device.id}${rest}`, { token, headers })
    const all = Effect.fnUntraced(function* (query: string) {
      const points: Array<Point> = []
      let cursor: string | null = null
      let pages = 0
      do {
        const next: string = cursor === null ? "" : `&cursor=${cursor}`
        const { body, status, text }: Answer = yield* get(`?${query}${next}`)
        assert.strictEqual(status, 200, text)
        assert.strictEqual(body.count, body.data.length)
        points.push(...body.data)
        cursor = body.nextCursor
        assert.isBelow(++pages, 100)
      } while (cursor !== null)
      return { points, pages }
    })
    return { api, token, device, get, all }
  })
  const day = "startTime=2026-01-31T00:00:00Z&endTime=2026-02-01T00:00:00Z"

  it.effect("one metric answers with data, several with series, none with all; microseconds are kept", () =>
    Effect.gen(function* () {
      const { device, get } = yield* deviceWith([
        { at: "2026-01-31T08:00:00.000001Z", metrics: { t: 21.5, state: "on", open: true } },
        { at: "2026-01-31T08:00:01Z", metrics: { t: 99 }, quality: { t: "bad" } }
      ])
      const one = yield* get(`?metricKey=t&${day}`)
      assert.deepStrictEqual(one.body, {
        deviceId: device.id,
        metricKey: "t",
        data: [
          { timestamp: "2026-01-31T08:00:00.000001Z", value: 21.5, quality: "good" },
          { timestamp: "2026-01-31T08:00:01.000Z", value: 99, quality: "bad" }
        ],
        aggregation: "none",
        count: 2,
        nextCursor: null
      })
      const two = yield* get(`?metricKey=state&metricKey=missing&${day}`)
      assert.deepStrictEqual(
        two.body.series.map(({ data, metricKey }: { data: Array<Point>; metricKey: string }) => [
          metricKey,
          data.length
        ]),
        [
          ["state", 1],
          ["missing", 0]
        ]
      )
      const every = yield* get(`?${day}`)
      assert.sameMembers(
        every.body.series.map(({ metricKey }: { metricKey: string }) => metricKey),
        ["t", "state", "open"]
      )
      const none = yield* get(`?metricKey=missing&${day}`)
      assert.deepStrictEqual(none.body.data, [])
    })
  )

  it.effect("the last 24 hours are shown unless told, with what was measured a moment ago", () =>
    Effect.gen(function* () {
      const { get } = yield* deviceWith([at(25), at(23), at(0)].map((at) => ({ at, metrics: { t: 1 } })))
      assert.strictEqual((yield* get("?metricKey=t")).body.count, 2)
      assert.strictEqual((yield* get(`?metricKey=t&startTime=${at(26)}`)).body.count, 3)
      assert.strictEqual((yield* get(`?metricKey=t&startTime=${at(1)}&endTime=${at(2)}`)).status, 400)
      assert.strictEqual((yield* get("?metricKey=t&startTime=yesterday")).body.errors[0].path, "query.startTime")
    })
  )

  it.effect("pages lose and double nothing, also where many readings share an instant", () =>
    Effect.gen(function* () {
      const frames = Array.from({ length: 47 }, (_, index) => ({
        at: `2026-01-31T08:00:0${Math.floor(index / 10)}Z`,
        metrics: index % 3 === 0 ? { other: 1 } : { n: index }
      }))
      const { all } = yield* deviceWith(frames)
      const expected = frames.flatMap(({ metrics }) => ("n" in metrics ? [metrics.n] : []))
      for (const order of ["asc", "desc"]) {
        const { pages, points } = yield* all(`metricKey=n&limit=4&order=${order}&${day}`)
        assert.isAbove(pages, 5)
        assert.sameMembers(
          points.map(({ value }) => value),
          expected
        )
        assert.strictEqual(points.length, expected.length)
        const times = points.map(({ timestamp }) => timestamp)
        assert.deepStrictEqual(times, order === "asc" ? times.toSorted() : times.toSorted().toReversed())
      }
    })
  )

  it.effect("buckets hold what was measured in them, without values of bad quality, page by page", () =>
    Effect.gen(function* () {
      const { all, get } = yield* deviceWith([
        { at: "2026-01-31T08:00:10Z", metrics: { t: 10, on: true, state: "a" } },
        { at: "2026-01-31T08:00:20Z", metrics: { t: 20, on: false, state: "b" } },
        { at: "2026-01-31T08:00:30Z", metrics: { t: 1_000 }, quality: { t: "bad" } },
        { at: "2026-01-31T08:01:00Z", metrics: { t: 40 } },
        { at: "2026-01-31T08:07:00Z", metrics: { t: 50 } }
      ])
      const values = (query: string) =>
        Effect.map(get(`?${query}&${day}`), ({ body }) => body.data.map(({ value }: Point) => value))
      assert.deepStrictEqual(yield* values("metricKey=t&aggregation=1m"), [15, 40, 50])
      assert.deepStrictEqual(yield* values("metricKey=t&aggregation=5m&fn=sum"), [70, 50])
      assert.deepStrictEqual(yield* values("metricKey=t&aggregation=1h&fn=min"), [10])
      assert.deepStrictEqual(yield* values("metricKey=t&aggregation=1h&fn=max"), [50])
      assert.deepStrictEqual(yield* values("metricKey=t&aggregation=1d&fn=count"), [4])
      assert.deepStrictEqual(yield* values("metricKey=t&aggregation=1h&fn=first"), [10])
      assert.deepStrictEqual(yield* values("metricKey=t&aggregation=1h&fn=last"), [50])
      assert.deepStrictEqual(yield* values("metricKey=on&aggregation=1h"), [0.5])
      assert.deepStrictEqual(yield* values("metricKey=state&aggregation=1h&fn=last"), ["b"])
      assert.deepStrictEqual(yield* values("metricKey=state&aggregation=1h&fn=avg"), [])
      const { points } = yield* all(`metricKey=t&aggregation=1m&limit=1&${day}`)
      assert.deepStrictEqual(
        points.map(({ timestamp, value }) => [timestamp, value]),
        [
          ["2026-01-31T08:00:00.000Z", 15],
          ["2026-01-31T08:01:00.000Z", 40],
          ["2026-01-31T08:07:00.000Z", 50]
        ]
      )
      const { points: downwards } = yield* all(`metricKey=t&aggregation=1m&limit=2&order=desc&${day}`)
      assert.deepStrictEqual(
        downwards.map(({ value }) => value),
        [50, 40, 15]
      )
      const both = yield* get(`?metricKey=t&metricKey=on&aggregation=1m&limit=2&${day}`)
      assert.deepStrictEqual(
        both.body.series.map(({ data }: { data: Array<Point> }) => data.length),
        [2, 1]
      )
      assert.isNotNull(both.body.nextCursor)
    })
  )

  it.effect("a cursor of another order or kind is refused", () =>
    Effect.gen(function* () {
      const frames = [0, 1, 2].map((second) => ({ at: `2026-01-31T08:00:0${second}Z`, metrics: { t: 1 } }))
      const { get } = yield* deviceWith(frames)
      const { body } = yield* get(`?metricKey=t&limit=1&${day}`)
      for (const query of ["order=desc", "aggregation=1m"]) {
        assert.strictEqual((yield* get(`?metricKey=t&limit=1&${query}&${day}&cursor=${body.nextCursor}`)).status, 400)
      }
      assert.strictEqual((yield* get(`?metricKey=t&cursor=nonsense`)).status, 400)
    })
  )

  const csv = { accept: "text/csv" }
  /** The cells of RFC 4180. */
  const cellsOf = (text: string): ReadonlyArray<ReadonlyArray<string>> => {
    const lines: Array<Array<string>> = []
    let line: Array<string> = []
    for (const [, quoted, plain = "", end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
      line.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'))
      if (end === ",") continue
      lines.push(line)
      line = []
    }
    return lines
  }
  const cellOf = (value: unknown): string => {
    if (typeof value !== "string") return typeof value === "object" ? JSON.stringify(value) : String(value)
    return /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  }

  it.effect("CSV tells what JSON tells, of one, several and all metrics and of buckets, up and down", () =>
    Effect.gen(function* () {
      const values = [1, -1.5, 1e300, 5e-324, 0.0000001, -0.000000125, 1e21, 123456789.123456, true, false, ""]
      const texts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", 'say "a", b', "two\r\nlines", "ü", "plain", "'quoted"]
      const others = [{ a: [1, "=x"] }, [], ["a,b"], {}]
      const frames = [...values, ...texts, ...others].map((value, index) => ({
        at: `2026-01-31T0${index % 3}:00:${10 + index}${["", ".5", ".001", ".000001"][index % 4]}Z`,
        metrics: { n: index, ...(index % 4 !== 3 && { v: value }), "=key": value },
        ...(index % 5 === 0 && { quality: { v: index % 2 === 0 ? "bad" : "uncertain" } })
      }))
      const { all, get } = yield* deviceWith(frames)
      for (const query of [
        "metricKey=v",
        "metricKey=n",
        "metricKey=n&aggregation=1h",
        "metricKey=v&aggregation=1m&fn=last"
      ]) {
        for (const order of ["asc", "desc"]) {
          const { points } = yield* all(`${query}&order=${order}&${day}`)
          const { headers, text } = yield* get(`?${query}&order=${order}&${day}`, csv)
          assert.match(headers.get("content-type") ?? "", /^text\/csv;/)
          const [header, ...lines] = cellsOf(text)
          const isBucket = query.includes("aggregation")
          assert.deepStrictEqual(header, ["timestamp", "metricKey", "value", ...(isBucket ? [] : ["quality"])])
          assert.deepStrictEqual(
            lines,
            points.map(({ quality, timestamp, value }) => [
              timestamp,
              query.slice(10, 11),
              cellOf(value),
              ...(isBucket ? [] : [quality!])
            ])
          )
        }
      }
      for (const query of [
        "",
        "metricKey=v&metricKey=n&metricKey=none&",
        "aggregation=1h&fn=count&metricKey=v&metricKey=n&"
      ]) {
        const { body } = yield* get(`?${query}${day}&limit=10000`)
        const [, ...lines] = cellsOf((yield* get(`?${query}${day}`, csv)).text)
        const expected = body.series.flatMap(({ data, metricKey }: { data: Array<Point>; metricKey: string }) =>
          data.map(({ quality, timestamp, value }) => [
            timestamp,
            cellOf(metricKey),
            cellOf(value),
            ...(quality === undefined ? [] : [quality])
          ])
        )
        assert.isAbove(expected.length, 5)
        assert.sameDeepMembers([...lines], expected)
        const times = lines.map(([timestamp]) => Date.parse(timestamp!))
        assert.deepStrictEqual(
          times,
          times.toSorted((a, b) => a - b)
        )
      }
    })
  )

  const manyFrames = 12_345
  /** Many share an instant. */
  const deviceWithMany = Effect.gen(function* () {
    const made = yield* deviceWith([])
    const sql = yield* PipelineSql
    yield* sql`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
        source_device_id, config_version, metrics)
      select ${made.device.organizationId}::text::uuid, 'device', ${made.device.id}::text::uuid,
        timestamptz '2026-01-31T00:00:00Z' + (n / 7) * interval '1 second', gen_random_uuid(), gen_random_uuid(), now(),
        ${made.device.id}::text::uuid, 1, jsonb_build_object('n', n) from generate_series(1, ${manyFrames}) n`
    return made
  })

  it.effect("CSV goes on page after page until all is told, or as many readings as a limit says", () =>
    Effect.gen(function* () {
      const { get } = yield* deviceWithMany
      for (const order of ["asc", "desc"]) {
        const [, ...lines] = cellsOf((yield* get(`?metricKey=n&order=${order}&${day}`, csv)).text)
        assert.deepStrictEqual(
          lines.map(([, , value]) => Number(value)).toSorted((a, b) => a - b),
          Array.from({ length: manyFrames }, (_, index) => index + 1)
        )
      }
      for (const limit of [1, 499, 501, 5_000]) {
        assert.lengthOf(cellsOf((yield* get(`?metricKey=n&limit=${limit}&${day}`, csv)).text), limit + 1)
      }
      const minutes = `metricKey=n&aggregation=1m&fn=count&${day}`
      const counts = cellsOf((yield* get(`?${minutes}`, csv)).text).slice(1)
      assert.strictEqual(
        counts.reduce((sum, [, , count]) => sum + Number(count), 0),
        manyFrames
      )
      assert.lengthOf(cellsOf((yield* get(`?${minutes}&limit=3`, csv)).text), 4)
    })
  )

  it.effect("CSV is told only to who prefers it, compressed only to who can read that, and refusals are problems", () =>
    Effect.gen(function* () {
      const { api, get, token } = yield* deviceWith([{ at: "2026-01-31T08:00:00Z", metrics: { t: 1 } }])
      const typeFor = (accept: string) =>
        Effect.map(get(`?metricKey=t&${day}`, { accept }), ({ headers }) => headers.get("content-type")?.split(";")[0])
      for (const accept of [
        "text/csv",
        "TEXT/CSV;q=0.1",
        "text/csv, application/json",
        "application/json;q=0.5, text/csv"
      ]) {
        assert.strictEqual(yield* typeFor(accept), "text/csv", accept)
      }
      for (const accept of [
        "*/*",
        "text/*",
        "application/json, text/csv",
        "text/csv;q=0",
        "text/csv;q=0.5, application/json"
      ]) {
        assert.strictEqual(yield* typeFor(accept), "application/json", accept)
      }
      const plain = yield* get(`?metricKey=t&${day}`, { ...csv, "accept-encoding": "identity" })
      const packed = yield* get(`?metricKey=t&${day}`, { ...csv, "accept-encoding": "gzip" })
      assert.isNull(plain.headers.get("content-encoding"))
      assert.strictEqual(packed.headers.get("content-encoding"), "gzip")
      assert.strictEqual(packed.text, plain.text)
      const missing = yield* api.call("GET", `/api/v1/telemetry/device/${randomUUID()}`, { token, headers: csv })
      assert.strictEqual(missing.status, 404)
      assert.strictEqual((yield* get(`?metricKey=t&cursor=nonsense&${day}`, csv)).status, 400)
    })
  )

  it.effect("a client that goes away ends the query that runs for it", () =>
    Effect.gen(function* () {
      const { api, device, token } = yield* deviceWithMany
      const owner = yield* OwnerSql
      const waiting = Effect.map(
        owner<{ n: number }>`select count(*)::int as n from pg_stat_activity, pg_locks
          where pg_locks.pid = pg_stat_activity.pid and not granted and relation = 'telemetry_frames'::regclass
            and pg_locks.mode = 'AccessShareLock'`,
        (rows) => rows[0]?.n
      )
      const becomes = (n: number) =>
        waiting.pipe(
          Effect.tap(Effect.sleep("20 millis")),
          Effect.repeat({ until: (present) => present === n }),
          Effect.timeout("5 seconds")
        )
      yield* owner.withTransaction(
        Effect.gen(function* () {
          yield* owner`lock table only telemetry_frames in access exclusive mode`
          const client = new AbortController()
          const answer = fetch(`${api.url}/api/v1/telemetry/device/${device.id}?metricKey=n&${day}`, {
            headers: { authorization: `Bearer ${token}`, ...csv },
            signal: client.signal
          }).catch(() => undefined)
          yield* becomes(1)
          client.abort()
          yield* becomes(0)
          yield* Effect.promise(() => answer)
        })
      )
    })
  )

  it.effect("latest shows each metric with its time, quality and unit, and when the device was last seen", () =>
    Effect.gen(function* () {
      const { api, device, get, token } = yield* deviceWith([])
      const empty = yield* get("/latest")
      assert.deepStrictEqual(empty.body, { deviceId: device.id, metrics: {}, lastSeen: null, status: "unknown" })
      const { body: type } = yield* api.call("POST", "/api/v1/device-types", {
        token,
        body: {
          name: "With units",
          config: { processingMode: "endpoint", extractionRules: { t: { path: "$.t", type: "numeric", unit: "Cel" } } }
        }
      })
      yield* api.call("PATCH", `/api/v1/devices/${device.id}`, { token, body: { deviceTypeId: type.id } })
      const sql = yield* PipelineSql
      yield* sql`insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, older, quality, updated_at)
        values (${device.id}::uuid, 'device', ${device.organizationId}::uuid, ${sql.json({ t: 21.5, s: "on" })},
          '2026-01-31T08:00:00.000001Z', ${sql.json({ s: 1_769_846_400_000_000 })}, ${sql.json({ s: "bad" })}, now())`
      yield* sql`insert into device_status (device_id, tenant_id, connectivity, last_seen_at)
        values (${device.id}::uuid, ${device.organizationId}::uuid, 'online', '2026-01-31T08:00:00Z')`
      const { body } = yield* get("/latest")
      assert.deepStrictEqual(body, {
        deviceId: device.id,
        metrics: {
          t: { value: 21.5, timestamp: "2026-01-31T08:00:00.000001Z", quality: "good", unit: "Cel" },
          s: { value: "on", timestamp: "2026-01-31T08:00:00.000Z", quality: "bad", unit: null }
        },
        lastSeen: "2026-01-31T08:00:00.000Z",
        status: "online"
      })
    })
  )
})
