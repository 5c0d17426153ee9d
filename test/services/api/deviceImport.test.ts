import { MAX_BULK_ROWS } from "@argusiq/domain/bulk/rows.ts"
import { type ImportedRow } from "@argusiq/domain/http/device-import.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { addOrganization, Api, apiServer } from "./apiServer.ts"

layer(apiServer, { excludeTestServices: true })("many devices at once", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const { body: first } = yield* api.call("GET", `/api/v1/devices/${api.firstDevice.deviceId}`, { token })
    const deviceTypeId: string = first.deviceTypeId
    const bulk = (body: unknown, path = "bulk") => api.call("POST", `/api/v1/devices/${path}`, { token, body })
    const csv = (rawBody: string, query = "") =>
      api.call("POST", `/api/v1/devices/import${query}`, { token, rawBody, headers: { "content-type": "text/csv" } })
    const statuses = (body: { readonly results: ReadonlyArray<ImportedRow> }) =>
      body.results.map(({ status }) => status)
    return { api, token, first, deviceTypeId, bulk, csv, statuses }
  })

  it.effect("a faulty row is told with its paths, and its neighbours are added", () =>
    Effect.gen(function* () {
      const { api, bulk, deviceTypeId, first, statuses, token } = yield* session
      const { body, status, text } = yield* bulk({
        devices: [
          { name: "one", deviceTypeId, externalId: "bulk-1", serialNumber: "BS-1" },
          { name: " ", serialNumber: 7 },
          { name: "no type", deviceTypeId: "01890a5d-ac96-774b-bcce-b302099a8057" },
          "nonsense",
          { name: "same serial", deviceTypeId, serialNumber: "BS-1" },
          { name: "no parent", deviceTypeId, parentDeviceId: "01890a5d-ac96-774b-bcce-b302099a8057" },
          { name: "nul", deviceTypeId, customAttributes: { a: "\u0000" } },
          {
            name: "last",
            deviceTypeId,
            parentDeviceId: first.id,
            logicalIdentifier: "c1",
            customAttributes: { a: [1] }
          }
        ]
      })
      assert.strictEqual(status, 200, text)
      assert.deepStrictEqual(statuses(body), [
        "created",
        "failed",
        "failed",
        "failed",
        "failed",
        "failed",
        "failed",
        "created"
      ])
      assert.deepStrictEqual([body.created, body.existing, body.failed], [2, 0, 6])
      const paths = body.results.map(({ errors = [] }: ImportedRow) => errors.map(({ path }) => path))
      assert.includeMembers(paths[1], ["name", "serialNumber", "deviceTypeId"])
      assert.deepStrictEqual(
        [paths[2], paths[4], paths[5], paths[6]],
        [["deviceTypeId"], ["serialNumber"], ["parentDeviceId"], ["customAttributes"]]
      )
      const made = yield* api.call("GET", `/api/v1/devices/${body.results[7].id}`, { token })
      assert.deepInclude(made.body, {
        name: "last",
        parentDeviceId: first.id,
        logicalIdentifier: "c1",
        status: "active"
      })
      assert.deepStrictEqual(made.body.customAttributes, { a: [1] })
      assert.strictEqual(made.body.organizationId, first.organizationId)
    })
  )

  it.effect("a file that is sent again adds nothing, and answers with the same ids", () =>
    Effect.gen(function* () {
      const { bulk, deviceTypeId } = yield* session
      const devices = Array.from({ length: 30 }, (_, index) => ({
        name: `again ${index}`,
        deviceTypeId,
        externalId: `again-${index}`
      }))
      const once = yield* bulk(devices)
      const [twice, thrice] = yield* Effect.all([bulk(devices, "import"), bulk({ devices })], { concurrency: 2 })
      assert.deepStrictEqual([once.body.created, twice.body.existing, thrice.body.existing], [30, 30, 30])
      const ids = (body: { readonly results: ReadonlyArray<ImportedRow> }) => body.results.map(({ id }) => id)
      assert.deepStrictEqual(ids(twice.body), ids(once.body))
    })
  )

  it.effect("the same file sent twice at the same moment adds every device once", () =>
    Effect.gen(function* () {
      const { bulk, deviceTypeId } = yield* session
      const devices = Array.from({ length: 2_000 }, (_, index) => ({
        name: "race",
        deviceTypeId,
        externalId: `race-${index}`
      }))
      const answers = yield* Effect.all([bulk(devices), bulk(devices.toReversed())], { concurrency: 2 })
      for (const { status, text } of answers) assert.strictEqual(status, 200, text.slice(0, 500))
      assert.strictEqual(answers[0].body.created + answers[1].body.created, 2_000)
      const sql = yield* OwnerSql
      const [counted] = yield* sql<{ count: number }>`select count(*)::int as count from devices where name = 'race'`
      assert.strictEqual(counted?.count, 2_000)
    })
  )

  it.effect("CSV is read with quotes, line breaks in cells, parts of objects and a type for all rows", () =>
    Effect.gen(function* () {
      const { api, csv, deviceTypeId, token } = yield* session
      const text = [
        "\uFEFFname,externalId,customAttributes.floor,customAttributes.room,networkMetadata",
        '"Pump ""A"", north",csv-1,2,02,"{""ip"":""10.0.0.1""}"',
        '"two',
        'lines",csv-2,,true,',
        "too,few",
        'broken"quote,csv-4,,,',
        ",csv-5,,,"
      ].join("\r\n")
      const { body, status, text: said } = yield* csv(text, `?deviceTypeId=${deviceTypeId}`)
      assert.strictEqual(status, 200, said)
      assert.deepStrictEqual(
        body.results.map((row: ImportedRow) => [row.row, row.status]),
        [
          [1, "created"],
          [2, "created"],
          [3, "failed"],
          [4, "failed"],
          [5, "failed"]
        ]
      )
      const { body: pump } = yield* api.call("GET", `/api/v1/devices/${body.results[0].id}`, { token })
      assert.strictEqual(pump.name, 'Pump "A", north')
      assert.deepStrictEqual(pump.customAttributes, { floor: 2, room: "02" })
      assert.deepStrictEqual(pump.networkMetadata, { ip: "10.0.0.1" })
      assert.include(body.results[2].errors[0].message, "2 cells")
    })
  )

  it.effect("a file that cannot be read as a whole adds nothing", () =>
    Effect.gen(function* () {
      const { api, bulk, csv, deviceTypeId, token } = yield* session
      const good = JSON.stringify({ name: "half a file", deviceTypeId })
      const send = (rawBody: string, contentType = "application/json") =>
        api.call("POST", "/api/v1/devices/bulk", { token, rawBody, headers: { "content-type": contentType } })
      for (const broken of [
        "",
        "{",
        good,
        `[${good}`,
        `[${good},,${good}]`,
        `{"devices":[${good}]`,
        `[${good}] x`,
        '{"rows":[]}'
      ]) {
        const answer = yield* send(broken)
        assert.strictEqual(answer.status, 400, `${broken}: ${answer.text}`)
      }
      assert.strictEqual((yield* csv(`name,tenantId\nhalf a file,x`)).status, 400)
      assert.strictEqual((yield* csv(`name,name\nhalf a file,x`)).status, 400)
      assert.strictEqual((yield* csv('name\n"half a file')).status, 400)
      assert.strictEqual((yield* csv("")).status, 400)
      const many = Array.from({ length: MAX_BULK_ROWS + 1 }, () => ({ name: "half a file", deviceTypeId }))
      assert.strictEqual((yield* bulk(many)).status, 400)
      const long = yield* bulk([{ name: "half a file", deviceTypeId }, { name: "x".repeat(70_000) }])
      assert.strictEqual(long.status, 400)
      assert.strictEqual((yield* send(`[${good}]`, "application/xml")).status, 415)
      assert.strictEqual((yield* send(" ".repeat(33 * 1_048_576))).status, 413)
      const { body } = yield* api.call("GET", "/api/v1/devices?q=half%20a%20file", { token })
      assert.deepStrictEqual(body.items, [])
      const empty = yield* send("[]")
      assert.deepStrictEqual(empty.body, { created: 0, existing: 0, failed: 0, results: [] })
    })
  )

  it.effect(
    "another organization's devices and types are not there for a row, and its values do not stand in the way",
    () =>
      Effect.gen(function* () {
        const { api, bulk, deviceTypeId, first } = yield* session
        const { email, organizationId } = yield* addOrganization("bulk-stranger")
        const stranger = yield* api.login(email)
        yield* bulk([{ name: "theirs", deviceTypeId, externalId: "shared-1", serialNumber: "shared-1" }])
        const own = yield* api.call("POST", "/api/v1/device-types", { token: stranger, body: { name: "Mine" } })
        const answer = yield* api.call("POST", "/api/v1/devices/bulk", {
          token: stranger,
          body: [
            {
              name: "mine",
              deviceTypeId: own.body.id,
              externalId: "shared-1",
              serialNumber: "shared-1",
              organizationId: first.organizationId,
              tenantId: first.organizationId
            },
            { name: "theirs", deviceTypeId },
            { name: "behind theirs", deviceTypeId: own.body.id, parentDeviceId: first.id }
          ]
        })
        assert.deepStrictEqual(
          answer.body.results.map(({ status }: ImportedRow) => status),
          ["created", "failed", "failed"]
        )
        const made = yield* api.call("GET", `/api/v1/devices/${answer.body.results[0].id}`, { token: stranger })
        assert.strictEqual(made.body.organizationId, organizationId)
      })
  )

  it.effect("ten thousand rows are added at once, each with an id of its own", () =>
    Effect.gen(function* () {
      const { bulk, deviceTypeId } = yield* session
      const devices = Array.from({ length: MAX_BULK_ROWS }, (_, index) => ({
        name: `ten thousand ${index}`,
        deviceTypeId,
        externalId: `ten-thousand-${index}`,
        customAttributes: { floor: index % 7, note: '\ud83d\ude00 with, "all" {kinds} [of] text' }
      }))
      const { body, status, text } = yield* bulk({ devices })
      assert.strictEqual(status, 200, text.slice(0, 1_000))
      assert.strictEqual(body.created, MAX_BULK_ROWS)
      assert.strictEqual(new Set(body.results.map(({ id }: ImportedRow) => id)).size, MAX_BULK_ROWS)
    })
  )
})
