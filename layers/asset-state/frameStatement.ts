/**
 * What assets came to, as rows of `telemetry_frames`: one per asset and instant, which a higher revision replaces; and what
 * came too late or from the future, as it came.
 * @module
 */
import type { AssetOutput } from "@argusiq/domain/asset/asset-fold.ts"
import type { AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { storableJson } from "@argusiq/domain/storable.ts"
import type { PgTypes } from "@effect/sql-pg"
import { bigintegers, instants, integers, texts, uuids } from "../telemetry/columns.ts"

/** An instant of an asset, settled or not. */
export interface AssetFrame {
  readonly assetId: string
  readonly tenantId: string
  /** v5(asset, ts) */
  readonly readingId: string
  readonly revision: number
  readonly output: AssetOutput
}

/** A reading that takes no part. */
export interface AsideReading {
  readonly assetId: string
  readonly tenantId: string
  readonly reading: AssetReading
  readonly why: "late" | "ahead"
  /** v5(asset, ts): what the reading came to before, where it was not late then. */
  readonly insteadOf: string
}

export interface GoneFrame {
  readonly assetId: string
  readonly tenantId: string
  readonly readingId: string
  readonly ts: number
}

const suspicious = /\\u(0000|d[89a-f])/i

/** The text of a JSON value that jsonb takes. */
export const jsonText = (value: object): string => {
  const text = JSON.stringify(value)
  return suspicious.test(text) ? JSON.stringify(storableJson(value)) : text
}
export const optionalJsonText = (value: object | undefined) => (value === undefined ? null : jsonText(value))

/** `metadata.health`: how the score of the frame was made. */
const metadataOf = ({ assetTypeVersion, health, inputs, sourceDevices }: AssetOutput): object | undefined =>
  health === undefined
    ? undefined
    : {
        health: {
          algorithm: health.algorithm,
          version: assetTypeVersion,
          devices: sourceDevices.length,
          contributions: health.contributions,
          ...(inputs !== undefined && { inputs })
        }
      }

const uncertain = (reading: AssetReading) =>
  Object.fromEntries(
    Object.keys(reading.metrics).map((key) => [key, reading.quality?.[key] === "bad" ? "bad" : "uncertain"])
  )

/** What a statement of {@link ./latestStatement.ts} calls `frame`: the batch, each row by its place. */
export const frameColumns = `
  select tenant_id, entity_id, ts, reading_id, message_id, received_at, source_device_id, config_version,
    metrics::jsonb as metrics, quality::jsonb as quality, metadata::jsonb as metadata, revision, late = 1 as late, instead_of, place
  from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::uuid[], $8::int[],
      $9::text[], $10::text[], $11::text[], $12::bigint[], $13::int[], $14::uuid[]) with ordinality
    as frame (tenant_id, entity_id, ts, reading_id, message_id, received_at, source_device_id, config_version, metrics, quality,
      metadata, revision, late, instead_of, place)`

export const frameInsertion = `
  insert into telemetry_frames as held (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
    source_device_id, config_version, metrics, quality, metadata, revision, late)
  select tenant_id, 'asset', entity_id, ts, reading_id, message_id, received_at, source_device_id, config_version,
    metrics, quality, metadata, revision, late
  from frame
  where instead_of is null or not exists (
    select from telemetry_frames present
    where present.entity_id = frame.entity_id and present.ts = frame.ts and present.reading_id = frame.instead_of)
  on conflict (entity_id, ts, reading_id) do update set
    (message_id, received_at, source_device_id, config_version, metrics, quality, metadata, revision) =
    (excluded.message_id, excluded.received_at, excluded.source_device_id, excluded.config_version, excluded.metrics,
      excluded.quality, excluded.metadata, excluded.revision)
  where excluded.revision > held.revision`

export const deleteFramesStatement = `
delete from telemetry_frames held using unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) gone (entity_id, ts, reading_id)
where held.entity_id = gone.entity_id and held.ts = gone.ts and held.reading_id = gone.reading_id`

const versionOf = (reading: AssetReading) => (reading.kind === "device" ? reading.assetTypeVersion : 0)
const messageOf = (reading: AssetReading) => (reading.kind === "device" ? reading.sourceMessageId : null)
const deviceOf = (reading: AssetReading) => (reading.kind === "device" ? reading.sourceDeviceId : null)

/** Each reading aside once. */
const distinct = (aside: ReadonlyArray<AsideReading>): ReadonlyArray<AsideReading> => [
  ...new Map(aside.map((one) => [one.reading.readingId, one])).values()
]

export const frameParameters = (
  frames: ReadonlyArray<AssetFrame>,
  asideReadings: ReadonlyArray<AsideReading>
): ReadonlyArray<PgTypes.Parameter> => {
  const aside = distinct(asideReadings)
  const column = <A>(of: (frame: AssetFrame) => A, ofAside: (aside: AsideReading) => A): ReadonlyArray<A> =>
    aside.length === 0 ? frames.map(of) : [...frames.map(of), ...aside.map(ofAside)]
  return [
    uuids(
      column(
        (frame) => frame.tenantId,
        (one) => one.tenantId
      )
    ),
    uuids(
      column(
        (frame) => frame.assetId,
        (one) => one.assetId
      )
    ),
    instants(
      column(
        ({ output }) => output.ts,
        ({ reading }) => reading.ts
      )
    ),
    uuids(
      column(
        (frame) => frame.readingId,
        ({ reading }) => reading.readingId as string
      )
    ),
    uuids(
      column<string | null>(
        ({ output }) => output.messageId ?? null,
        ({ reading }) => messageOf(reading)
      )
    ),
    instants(
      column(
        ({ output }) => output.receivedAt,
        ({ reading }) => reading.receivedAt
      )
    ),
    uuids(
      column<string | null>(
        ({ output }) => output.sourceDevices[0] ?? null,
        ({ reading }) => deviceOf(reading)
      )
    ),
    integers(
      column(
        ({ output }) => output.assetTypeVersion,
        ({ reading }) => versionOf(reading)
      )
    ),
    texts(
      column(
        ({ output }) => jsonText(output.metrics),
        ({ reading }) => jsonText(reading.metrics)
      )
    ),
    texts(
      column(
        ({ output }) => optionalJsonText(output.quality),
        ({ reading, why }) => optionalJsonText(why === "ahead" ? uncertain(reading) : reading.quality)
      )
    ),
    texts(
      column(
        ({ output }) => optionalJsonText(metadataOf(output)),
        ({ why }) => (why === "ahead" ? `{"clock":"ahead"}` : null)
      )
    ),
    bigintegers(
      column(
        ({ revision }) => BigInt(revision),
        () => 0n
      )
    ),
    integers(
      column(
        () => 0,
        ({ why }) => (why === "late" ? 1 : 0)
      )
    ),
    uuids(
      column<string | null>(
        () => null,
        ({ insteadOf }) => insteadOf
      )
    )
  ]
}
