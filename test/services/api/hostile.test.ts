import { requestLimits } from "@argusiq/platform/answeringServer.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { connect } from "node:net"
import { gzipSync } from "node:zlib"
import { Api, apiServerWith, type Call } from "./apiServer.ts"

const impatient = { ...requestLimits, headersMillis: 400, requestMillis: 1_000, checkMillis: 100 }

interface Raw {
  readonly text: string
  readonly closedAfterMillis: number
}

/** Writes pieces to a connection, one after another, and reads until the server closes it, or for so long. */
const raw = (url: string, pieces: ReadonlyArray<string>, { everyMillis = 0, mostMillis = 10_000 } = {}) =>
  Effect.promise(
    () =>
      new Promise<Raw>((resolve) => {
        const began = performance.now()
        let text = ""
        const socket = connect(Number(new URL(url).port), "127.0.0.1")
        const timers: Array<NodeJS.Timeout> = [setTimeout(() => socket.destroy(), mostMillis)]
        for (const [index, piece] of pieces.entries()) {
          timers.push(setTimeout(() => socket.writable && socket.write(piece), index * everyMillis))
        }
        socket.on("data", (bytes) => (text += bytes.toString("latin1")))
        socket.on("error", () => {})
        socket.on("close", () => {
          for (const timer of timers) clearTimeout(timer)
          resolve({ text, closedAfterMillis: performance.now() - began })
        })
      })
  )
const statusesIn = (text: string) => Array.from(text.matchAll(/HTTP\/1\.1 (\d{3})/g), ([, status]) => Number(status))

layer(apiServerWith({}, impatient), { excludeTestServices: true })("a hostile client", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) => api.call(method, path, { token, ...options })
    const { body: first } = yield* call("GET", `/api/v1/devices/${api.firstDevice.deviceId}`)
    const add = (device: object) =>
      call("POST", "/api/v1/devices", { body: { deviceTypeId: first.deviceTypeId, name: "hostile", ...device } })
    return { api, token, call, first, add }
  })

  it.effect("a compressed body is refused before anybody inflates it", () =>
    Effect.gen(function* () {
      const { api, token } = yield* session
      const bomb = gzipSync(Buffer.alloc(256 * 1_048_576), { level: 9 })
      const before = process.memoryUsage().rss
      for (const path of ["/api/v1/devices", "/api/v1/devices/bulk", "/api/v1/auth/login"]) {
        for (const encoding of ["gzip", "br", "gzip, gzip"]) {
          const answer = yield* Effect.promise(() =>
            fetch(api.url + path, {
              method: "POST",
              body: bomb,
              headers: {
                authorization: `Bearer ${token}`,
                "content-type": "application/json",
                "content-encoding": encoding
              }
            })
          )
          assert.strictEqual(answer.status, 415, path)
          assert.match(answer.headers.get("content-type") ?? "", /problem\+json/)
        }
      }
      assert.isBelow(process.memoryUsage().rss - before, 150 * 1_048_576)
    })
  )

  it.effect("numbers, keys and depths that no device has are stored as they are, or refused, and never fail", () =>
    Effect.gen(function* () {
      const { call, first } = yield* session
      const send = (attributes: string) =>
        call("POST", "/api/v1/devices", {
          rawBody: `{"name":"odd","deviceTypeId":"${first.deviceTypeId}","customAttributes":${attributes}}`
        })
      const cases: ReadonlyArray<readonly [string, ReadonlyArray<number>]> = [
        [`{"a":1e999}`, [400]],
        [`{"a":-1e999}`, [400]],
        [`{"a":${"9".repeat(1_000)}}`, [400]],
        [`{"a":${"9".repeat(300)}}`, [201]],
        [`{"a":1e-400}`, [201]],
        [`{"${"k".repeat(200_000)}":1}`, [201]],
        [`{"__proto__":{"isPlatformAdmin":true},"constructor":{"prototype":{}}}`, [201, 400]],
        [`{${Array.from({ length: 10_001 }, (_, index) => `"${index}":1`).join()}}`, [400]],
        [`${'{"a":'.repeat(70)}1${"}".repeat(70)}`, [400]],
        ["[".repeat(100_000), [400]],
        [`{"a":"\\u0000"}`, [422]],
        [`{"a":1,"a":2}`, [201]]
      ]
      for (const [attributes, expected] of cases) {
        const answer = yield* send(attributes)
        assert.include(expected, answer.status, `${attributes.slice(0, 60)}: ${answer.text.slice(0, 300)}`)
      }
      assert.isUndefined(({} as Record<string, unknown>)["isPlatformAdmin"])
    })
  )

  it.effect("SQL in searches, filters, orders, metric names and cursors is text", () =>
    Effect.gen(function* () {
      const { api, call } = yield* session
      const { deviceId } = api.firstDevice
      const injections = [
        "' or '1'='1",
        "'; drop table devices; --",
        "\\' or 1=1 --",
        "%",
        "_",
        "$1",
        '"; select 1',
        "${x}"
      ]
      for (const injection of injections) {
        const text = encodeURIComponent(injection)
        for (const list of ["devices", "device-types", "assets", "asset-types", "rules", "spaces", "activity-types"]) {
          const found = yield* call("GET", `/api/v1/${list}?q=${text}`)
          assert.strictEqual(found.status, 200, `${list} ${injection}: ${found.text}`)
          assert.deepStrictEqual(found.body.items, [], `${list} ${injection}`)
          for (const parameter of ["sort", "cursor", "limit"]) {
            const answer = yield* call("GET", `/api/v1/${list}?${parameter}=${text}`)
            assert.strictEqual(answer.status, 400, `${list} ${parameter} ${injection}: ${answer.text}`)
          }
        }
        const history = yield* call("GET", `/api/v1/telemetry/device/${deviceId}?metricKey=${text}`)
        assert.deepStrictEqual([history.status, history.body.data], [200, []], injection)
        const buckets = yield* call(
          "GET",
          `/api/v1/telemetry/device/${deviceId}?metricKey=${text}&aggregation=1h&fn=${text}`
        )
        assert.strictEqual(buckets.status, 400)
        for (const filter of ["deviceTypeId", "parentDeviceId", "status", "connectivityStatus"]) {
          assert.strictEqual((yield* call("GET", `/api/v1/devices?${filter}=${text}`)).status, 400, filter)
        }
        const external = yield* call("GET", `/api/v1/devices?externalId=${text}`)
        assert.deepStrictEqual([external.status, external.body.items], [200, []])
      }
      assert.strictEqual((yield* call("GET", `/api/v1/devices/${deviceId}`)).status, 200)
    })
  )

  it.effect("paths that climb lead nowhere, and a document's name is no path", () =>
    Effect.gen(function* () {
      const { api, call } = yield* session
      for (const path of [
        "/api/v1/documents/..%2f..%2f..%2fetc%2fpasswd/content",
        "/api/v1/documents/%2e%2e%2f%2e%2e%2fcli-token/content",
        "/api/v1/documents/....//....//cli-token/content",
        "/docs/..%2f..%2fcli-token",
        "/api/v1/topics/..%2f..%2fcli-token/records"
      ]) {
        const answer = yield* call("GET", path)
        assert.include([400, 403, 404], answer.status, `${path}: ${answer.text}`)
        assert.notInclude(answer.text, "root:")
      }
      const climbing = yield* raw(api.url, [
        "GET /api/v1/../../../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
      ])
      assert.deepStrictEqual(statusesIn(climbing.text), [404])
      const { body: type } = yield* call("POST", "/api/v1/asset-types", { body: { name: "With documents" } })
      const { body: asset } = yield* call("POST", "/api/v1/assets", { body: { name: "A", assetTypeId: type.id } })
      for (const name of [
        "../../etc/passwd.txt",
        "..\\..\\boot.txt",
        "/etc/passwd.txt",
        "C:\\a.txt",
        "a/../../b.txt"
      ]) {
        const added = yield* call("POST", `/api/v1/assets/${asset.id}/documents?name=${encodeURIComponent(name)}`, {
          rawBody: "text",
          headers: { "content-type": "text/plain" }
        })
        assert.include([201, 400, 422], added.status, added.text)
        if (added.status !== 201) continue
        const content = yield* call("GET", `/api/v1/documents/${added.body.id}/content`)
        assert.strictEqual(content.text, "text")
        assert.notMatch(content.headers.get("content-disposition") ?? "", /filename="[^"]*[/\\]/)
      }
    })
  )

  it.effect("methods and content types that nobody knows are refused with a problem, or by closing", () =>
    Effect.gen(function* () {
      const { api, call } = yield* session
      for (const method of ["TRACE", "PROPFIND", "LINK", "PURGE"]) {
        const { text } = yield* raw(api.url, [
          `${method} /api/v1/devices HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`
        ])
        assert.include([404, 405, 501], statusesIn(text)[0], `${method}: ${text}`)
      }
      const invented = yield* raw(api.url, ["BREW /api/v1/devices HTTP/1.1\r\nhost: x\r\n\r\n"])
      assert.deepStrictEqual(statusesIn(invented.text), [400])
      for (const type of [
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/json-patch+json",
        "x"
      ]) {
        for (const path of ["/api/v1/devices", "/api/v1/devices/import", "/api/v1/auth/login"]) {
          const answer = yield* call("POST", path, { rawBody: "{}", headers: { "content-type": type } })
          assert.strictEqual(answer.status, 415, `${path} ${type}: ${answer.text}`)
          assert.match(answer.headers.get("content-type") ?? "", /problem\+json/)
        }
      }
      const charset = yield* call("POST", "/api/v1/devices", {
        rawBody: "{}",
        headers: { "content-type": "Application/JSON; charset=utf-8" }
      })
      assert.strictEqual(charset.status, 400)
    })
  )

  it.effect("a request that could be read in two ways is refused, and nothing behind it is answered", () =>
    Effect.gen(function* () {
      const { api } = yield* session
      const smuggled = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
      const head = (lines: ReadonlyArray<string>) =>
        `POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${lines.join("\r\n")}\r\n\r\n`
      const shapes = {
        "a length beside chunks": head(["content-length: 5", "transfer-encoding: chunked"]) + `0\r\n\r\n${smuggled}`,
        "chunks beside a length": head(["transfer-encoding: chunked", "content-length: 5"]) + `0\r\n\r\n${smuggled}`,
        "two lengths": head(["content-length: 0", `content-length: ${smuggled.length}`]) + smuggled,
        "two lengths in one line": head([`content-length: 0, ${smuggled.length}`]) + smuggled,
        "a length with a sign": head(["content-length: +0"]) + smuggled,
        "a coding that is none": head(["transfer-encoding: xchunked"]) + `0\r\n\r\n${smuggled}`,
        "chunked, but not last": head(["transfer-encoding: chunked, identity"]) + `0\r\n\r\n${smuggled}`,
        "a blank before the colon": head(["transfer-encoding : chunked", "content-length: 5"]) + `0\r\n\r\n${smuggled}`,
        "a folded line": head(["transfer-encoding:", " chunked"]) + `0\r\n\r\n${smuggled}`,
        "a chunk size that is none": head(["transfer-encoding: chunked"]) + `0x0\r\n\r\n${smuggled}`,
        "no host": `GET /health HTTP/1.1\r\n\r\n${smuggled}`
      }
      for (const [shape, request] of Object.entries(shapes)) {
        const { text } = yield* raw(api.url, [request], { mostMillis: 3_000 })
        assert.deepStrictEqual(
          statusesIn(text).filter((status) => status < 400),
          [],
          `${shape}: ${text}`
        )
        assert.isAtMost(statusesIn(text).length, 1, `${shape}: ${text}`)
      }
    })
  )

  it.effect("headers that are too large are refused", () =>
    Effect.gen(function* () {
      const { api } = yield* session
      const large = yield* raw(api.url, [`GET /health HTTP/1.1\r\nhost: x\r\nx-a: ${"a".repeat(20_000)}\r\n\r\n`])
      assert.deepStrictEqual(statusesIn(large.text), [431])
      const many = Array.from({ length: 3_000 }, (_, index) => `x-${index}: 1`).join("\r\n")
      const crowd = yield* raw(api.url, [`GET /health HTTP/1.1\r\nhost: x\r\n${many}\r\n\r\n`])
      assert.deepStrictEqual(statusesIn(crowd.text), [431])
      const address = yield* raw(api.url, [`GET /${"a".repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`])
      assert.deepStrictEqual(statusesIn(address.text), [431])
    })
  )

  it.effect("headers and bodies that come drop by drop do not hold a connection", () =>
    Effect.gen(function* () {
      const { api, token } = yield* session
      const drops = Array.from({ length: 60 }, (_, index) => `x-${index}: 1\r\n`)
      const slowHeaders = yield* raw(api.url, ["GET /health HTTP/1.1\r\nhost: x\r\n", ...drops], { everyMillis: 100 })
      assert.isBelow(slowHeaders.closedAfterMillis, 3_000)
      assert.notInclude(statusesIn(slowHeaders.text), 200)
      const head = `POST /api/v1/devices HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n`
      const slowBody = yield* raw(api.url, [head, ...Array.from({ length: 60 }, () => " ")], { everyMillis: 100 })
      assert.isBelow(slowBody.closedAfterMillis, 4_000)
      assert.deepStrictEqual(
        statusesIn(slowBody.text).filter((status) => status < 400),
        []
      )
      assert.strictEqual((yield* api.call("GET", "/health")).status, 200)
    })
  )

  it.effect("the platform's own limits are in force unless told otherwise", () =>
    Effect.sync(() => {
      assert.isAtMost(requestLimits.headersMillis, 30_000)
      assert.isAtMost(requestLimits.requestMillis, 300_000)
      assert.isAtMost(requestLimits.headerBytes, 32_768)
    })
  )
})
