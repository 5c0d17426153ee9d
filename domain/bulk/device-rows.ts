/**
 * Rows of a file as the devices that they describe, and which of them can be added beside what exists.
 * @module
 */
import { Result, Schema, SchemaIssue } from "effect"
import { type NewDevice, NewDevice as NewDeviceSchema } from "../http/devices.ts"
import { faultPath } from "../http/fault-path.ts"
import { type Fault } from "../http/problems.ts"
import { storableJson } from "../storable.ts"
import { type CsvShape } from "./csv-rows.ts"
import { type WrittenRow } from "./rows.ts"

export const deviceColumns: CsvShape = {
  texts: [
    "name",
    "deviceTypeId",
    "externalId",
    "serialNumber",
    "parentDeviceId",
    "logicalIdentifier",
    "protocol",
    "status"
  ],
  objects: ["networkMetadata", "customAttributes"]
}

export interface DeviceRow {
  readonly row: number
  readonly device: NewDevice
}
export interface FaultyRow {
  readonly row: number
  readonly errors: ReadonlyArray<Fault>
}

const decode = Schema.decodeUnknownResult(NewDeviceSchema, { errors: "all" })
const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** `deviceTypeId`: of rows that name none. */
export const readDeviceRow = (
  written: WrittenRow,
  deviceTypeId: string | undefined
): Result.Result<DeviceRow, FaultyRow> => {
  const { row } = written
  if ("fault" in written) return Result.fail({ row, errors: [{ path: "", message: written.fault }] })
  const { value } = written
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value)
  const decoded = decode(isObject && deviceTypeId !== undefined ? { deviceTypeId, ...value } : value)
  if (Result.isFailure(decoded)) {
    const { issues } = formatIssues(decoded.failure.issue)
    return Result.fail({ row, errors: issues.map(({ message, path = [] }) => ({ path: faultPath(path), message })) })
  }
  const device = decoded.success
  const errors = (["networkMetadata", "customAttributes"] as const)
    .filter((path) => device[path] !== undefined && storableJson(device[path]) !== device[path])
    .map((path) => ({ path, message: "holds a character that cannot be stored (NUL or half of a surrogate pair)" }))
  return errors.length > 0 ? Result.fail({ row, errors }) : Result.succeed({ row, device })
}

/** What an organization has of that which the rows name: ids by external id, the rest as sets. */
export interface Present {
  readonly idsByExternalId: ReadonlyMap<string, string>
  readonly serialNumbers: ReadonlySet<string>
  /** Of children, as {@link childKey} writes them. */
  readonly children: ReadonlySet<string>
  readonly deviceTypeIds: ReadonlySet<string>
  readonly deviceIds: ReadonlySet<string>
}

export const childKey = (parentDeviceId: string, logicalIdentifier: string): string =>
  `${parentDeviceId}/${logicalIdentifier}`

export type RowDecision =
  | { readonly _tag: "Add"; readonly row: number; readonly device: NewDevice }
  | { readonly _tag: "Exists"; readonly row: number; readonly id: string }
  | { readonly _tag: "Refused"; readonly row: number; readonly errors: ReadonlyArray<Fault> }

/** The values of a device that no other may have; a child's identifier is its own behind its parent. */
const ownValues = ({ externalId, logicalIdentifier, parentDeviceId, serialNumber }: NewDevice) => {
  const child =
    typeof parentDeviceId === "string" && typeof logicalIdentifier === "string"
      ? childKey(parentDeviceId, logicalIdentifier)
      : undefined
  return [
    ["externalId", externalId ?? undefined],
    ["serialNumber", serialNumber ?? undefined],
    ["logicalIdentifier", child]
  ] as const
}

/** Of rows of one file with the same value the first one has it. */
export const refuseRepeated = (
  rows: ReadonlyArray<DeviceRow>
): { readonly rows: ReadonlyArray<DeviceRow>; readonly refused: ReadonlyArray<FaultyRow> } => {
  const first = new Map<string, number>()
  const kept: Array<DeviceRow> = []
  const refused: Array<FaultyRow> = []
  for (const one of rows) {
    const errors: Array<Fault> = []
    for (const [path, value] of ownValues(one.device)) {
      if (value === undefined) continue
      const key = `${path}=${value}`
      const before = first.get(key)
      if (before === undefined) first.set(key, one.row)
      else errors.push({ path, message: `is that of row ${before} too` })
    }
    if (errors.length === 0) kept.push(one)
    else refused.push({ row: one.row, errors })
  }
  return { rows: kept, refused }
}

/** A row whose external id exists is that device, which stays as it is: so a file can be sent again. */
export const decideRow = ({ device, row }: DeviceRow, present: Present): RowDecision => {
  const existing =
    device.externalId === undefined || device.externalId === null
      ? undefined
      : present.idsByExternalId.get(device.externalId)
  if (existing !== undefined) return { _tag: "Exists", row, id: existing }

  const errors: Array<Fault> = []
  if (!present.deviceTypeIds.has(device.deviceTypeId)) {
    errors.push({ path: "deviceTypeId", message: "does not exist in this organization" })
  }
  if (typeof device.parentDeviceId === "string" && !present.deviceIds.has(device.parentDeviceId)) {
    errors.push({ path: "parentDeviceId", message: "does not exist in this organization" })
  }
  for (const [path, value] of ownValues(device)) {
    const taken = path === "serialNumber" ? present.serialNumbers : present.children
    if (path !== "externalId" && value !== undefined && taken.has(value)) {
      errors.push({ path, message: "is already in use" })
    }
  }
  return errors.length > 0 ? { _tag: "Refused", row, errors } : { _tag: "Add", row, device }
}
