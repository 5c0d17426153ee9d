import { csvRows } from "@argusiq/domain/bulk/csv-rows.ts"
import { deviceColumns, type FaultyRow, readDeviceRow, refuseRepeated } from "@argusiq/domain/bulk/device-rows.ts"
import { jsonRows } from "@argusiq/domain/bulk/json-rows.ts"
import { Unreadable } from "@argusiq/domain/bulk/rows.ts"
import { type ImportedRow, type ImportResult, MAX_IMPORT_BYTES } from "@argusiq/domain/http/device-import.ts"
import { InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { DeviceImport } from "@argusiq/layers/registry/DeviceImport.ts"
import { Effect, Result } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { readPieces } from "../streamedBody.ts"

const readers = { "application/json": () => jsonRows("devices"), "text/csv": () => csvRows(deviceColumns) }

const typeOf = (contentType = "application/json") => contentType.split(";")[0]!.trim().toLowerCase()

interface ImportRequest {
  readonly request: HttpServerRequest.HttpServerRequest
  readonly query: { readonly deviceTypeId?: string }
}

/** What a reader throws because the file is wrong is a failure, anything else a defect. */
const reading = (read: () => void): Effect.Effect<void, Unreadable> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(read())
    } catch (error) {
      return error instanceof Unreadable ? Effect.fail(error) : Effect.die(error)
    }
  })

/** The devices of the body and the rows that describe none. Nothing is kept of the text but these. */
const readRows = Effect.fnUntraced(function* (
  { query, request }: ImportRequest,
  makeReader: () => ReturnType<typeof csvRows>
) {
  const reader = makeReader()
  const rows: Array<ReturnType<typeof readDeviceRow>> = []
  const keep = (written: ReturnType<typeof reader.push>) => {
    for (const row of written) rows.push(readDeviceRow(row, query.deviceTypeId))
  }
  yield* readPieces(request, MAX_IMPORT_BYTES, (piece) => reading(() => keep(reader.push(piece))))
  yield* reading(() => keep(reader.end()))
  const { refused, rows: devices } = refuseRepeated(rows.filter(Result.isSuccess).map(({ success }) => success))
  return { devices, faulty: [...rows.filter(Result.isFailure).map(({ failure }) => failure), ...refused] }
})

const failedRow = ({ errors, row }: FaultyRow): ImportedRow => ({ row, status: "failed", errors })

const resultOf = (results: ReadonlyArray<ImportedRow>): ImportResult => {
  const count = (status: ImportedRow["status"]) => results.filter((row) => row.status === status).length
  return {
    created: count("created"),
    existing: count("existing"),
    failed: count("failed"),
    results: results.toSorted((one, other) => one.row - other.row)
  }
}

export const deviceImport = HttpApiBuilder.group(
  RestApi,
  "deviceImport",
  Effect.fnUntraced(function* (handlers) {
    const devices = yield* DeviceImport
    const add = (asked: ImportRequest) =>
      Effect.gen(function* () {
        const type = typeOf(asked.request.headers["content-type"])
        if (type !== "application/json" && type !== "text/csv") return HttpServerResponse.empty({ status: 415 })
        const read = yield* readRows(asked, readers[type])
        const added = yield* devices.add(yield* Principal, read.devices)
        return HttpServerResponse.jsonUnsafe(resultOf([...added, ...read.faulty.map(failedRow)]))
      }).pipe(
        Effect.catchTag("Unreadable", ({ message }) =>
          Effect.fail(new InvalidRequest({ errors: [{ path: "", message }] }))
        ),
        orProblem
      )
    return handlers.handleRaw("bulk", add).handleRaw("import", add)
  })
)
