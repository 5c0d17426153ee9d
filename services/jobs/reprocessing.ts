/**
 * A page of messages under the configuration that a reprocess job asks for: what each of them comes to.
 * @module
 */
import { ChunkAssembly, EXPIRY_EVERY_SECONDS, type Whole } from "@argusiq/domain/chunk-assembly.ts"
import { wholeMessageId } from "@argusiq/domain/chunks.ts"
import { type CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { type ResolvedChild } from "@argusiq/domain/demultiplex.ts"
import { effectiveVersion } from "@argusiq/domain/effective.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type NormalizedMessage } from "@argusiq/domain/readings.ts"
import { type RawCopy } from "@argusiq/domain/replay.ts"
import {
  normalizeChildren,
  type ReprocessParameters,
  type SentMessage,
  type TypeOf
} from "@argusiq/domain/reprocess.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import { findGenerations } from "@argusiq/layers/jobs/generations.ts"
import { countDevices, positionBefore, RawReader } from "@argusiq/layers/jobs/RawMessages.ts"
import { type DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { compiledVersion, typesOfVersions } from "@argusiq/layers/profiles/stampedVersions.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { eachWithExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { type AliasBatch, AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Effect, Result } from "effect"
import { type Children, makeChildren } from "./children.ts"
import { headersOf, opening, sentOf, type Underway, type Version } from "./underway.ts"

/** A message and what takes the place of its readings. */
export interface Reprocessed {
  readonly messageId: string
  readonly receivedAt: Instant
  /** Undefined: it gives no readings, or is part of a whole that is not there yet. */
  readonly message: NormalizedMessage | undefined
  /** The chunked message that this one completes. */
  readonly whole: { readonly gatewayId: string; readonly receivedAt: Instant } | undefined
  /** Its readings stay as they are: this release, or this span of time, has not what it takes to make them anew. */
  readonly isKept: boolean
  /** Entries, or the message itself, that give no reading. */
  readonly failed: number
}

export interface ReprocessedPage {
  readonly items: ReadonlyArray<Reprocessed>
  /** Whose readings the messages give, under any version, where that helps to find them; undefined: look at everybody's. */
  readonly devices: ReadonlyArray<string> | undefined
}

/** What opening a message counts among the entries after which others get a turn. */
const PAUSE_COST = 20
const PAGE = { messages: 2_000, bytes: 4 * 1_048_576 }

/** Frames of a week lie in one table. */
const WEEK_MICROS = 604_800_000_000
/** What a frame costs that is found by when it was received, against one found by its entity. */
const COST_OF_SPAN = 6

/**
 * Whether fewer frames are looked through by going through all that these devices have in a week than through all that everybody
 * has in the span of the page: the former where they are few of many, or speak seldom.
 */
const isFoundByDevice = (devices: number, everybody: number, spanMicros: number): boolean =>
  COST_OF_SPAN * spanMicros * everybody > WEEK_MICROS * devices

type Types = ReadonlyMap<string, DeviceTypeVersions>

/** What becomes of the message at a place in the page, once the expressions that it needs are known. */
interface Opening {
  readonly index: number
  readonly open: ReturnType<typeof opening>
  readonly whole?: Underway["whole"]
}

const spanOf = (page: ReadonlyArray<RawCopy>) => (page.at(-1)?.receivedAt ?? 0) - (page[0]?.receivedAt ?? 0)

/** In which all readings are the sender's. */
const ownModes: ReadonlySet<string | undefined> = new Set(["endpoint", "rtu_multiport"])
const modeOf = (compiled: DeviceTypeVersions["versions"][number]["compiled"]) =>
  Result.isSuccess(compiled) ? compiled.success.config.processingMode : undefined

/** Keeps the chunks of messages that are not whole yet from page to page. Fails when the chosen version cannot be used. */
export const makeReprocessing = Effect.fnUntraced(function* (tenantId: string, parameters: ReprocessParameters) {
  const sql = yield* PipelineSql
  const profiles = yield* Profiles
  const aliasStore = yield* AliasStore
  const sandbox = yield* Sandbox
  const childrenOf = yield* makeChildren
  const assemblies = new Map<string, ChunkAssembly>()
  const everybody = yield* countDevices(sql)

  const chosen = { deviceTypeId: parameters.deviceTypeId, number: parameters.version }
  yield* Effect.fromResult(compiledVersion(chosen, yield* typesOfVersions(profiles, [chosen])))

  /** The chosen version for the job's type, for any other the one that was in force when the job was asked for. */
  const versionOf = (types: Types, deviceTypeId: string): Version | undefined => {
    const versions = types.get(deviceTypeId)?.versions ?? []
    const version =
      deviceTypeId === parameters.deviceTypeId
        ? versions.find(({ number }) => number === parameters.version)
        : effectiveVersion(versions, parameters.asOf)
    return version === undefined || Result.isFailure(version.compiled)
      ? undefined
      : { number: version.number, compiled: version.compiled.success }
  }

  /** With what came before the job's first look at the gateway: chunks that wait for one in this page. */
  const assemblyOf = Effect.fnUntraced(function* (raw: RawCopy, compiled: CompiledDeviceType) {
    const known = assemblies.get(raw.deviceId)
    if (known !== undefined) return known
    const assembly = new ChunkAssembly(raw.deviceId)
    assemblies.set(raw.deviceId, assembly)
    const reader = new RawReader(sql, tenantId, { _tag: "Device", id: raw.deviceId })
    const { chunking } = compiled
    if (chunking === undefined) return assembly
    const seconds = chunking.config.timeoutSeconds + EXPIRY_EVERY_SECONDS
    let position = positionBefore(raw.receivedAt - seconds * 1_000_000)
    while (position.receivedAt < raw.receivedAt) {
      const { messages, next } = yield* reader.page(position, raw.receivedAt, PAGE)
      for (const { payload, receivedAt } of messages) assembly.add({ ...compiled, chunking }, payload, receivedAt)
      position = next
    }
    return assembly
  })

  const run = Effect.fn("reprocessing.run")(function* (page: ReadonlyArray<RawCopy>) {
    const devices = yield* profiles.devices(new Set(page.map(({ deviceId }) => deviceId)))
    const types = yield* profiles.deviceTypes(new Set(devices.values().map(({ deviceTypeId }) => deviceTypeId)))
    const versions = page.map((raw) => {
      const deviceTypeId = devices.get(raw.deviceId)?.deviceTypeId
      const version = deviceTypeId === undefined ? undefined : versionOf(types, deviceTypeId)
      return deviceTypeId === undefined || version === undefined ? undefined : { deviceTypeId, version }
    })
    const aliases = yield* aliasStore.open(
      page
        .filter((_, index) => versions[index]?.version.compiled.decoder.stateful === true)
        .map((raw) => ({ headers: headersOf(raw) }))
    )

    const underway: Array<Underway> = []
    const openings: Array<Opening> = []
    const wholes: Array<{ readonly index: number; readonly whole: Whole }> = []
    const pause = makePauses()
    for (const [index, raw] of page.entries()) {
      yield* pause(PAUSE_COST)
      const applied = versions[index]
      if (applied === undefined) {
        underway.push({ raw, isKept: true, failed: 1 })
        continue
      }
      const { deviceTypeId, version } = applied
      const { chunking } = version.compiled
      if (chunking === undefined) {
        openings.push({ index, open: opening(sentOf(raw, deviceTypeId, version), raw, aliases) })
        underway.push({ raw })
        continue
      }
      const assembly = yield* assemblyOf(raw, version.compiled)
      const added = assembly.add({ ...version.compiled, chunking }, raw.payload, raw.receivedAt)
      if (Result.isFailure(added)) underway.push({ raw, failed: 1 })
      else {
        if (added.success !== undefined) wholes.push({ index, whole: added.success })
        underway.push({ raw })
      }
    }
    openings.push(...(yield* openingsOfWholes(page, versions, wholes, aliases)))
    const opened = yield* eachWithExpressions(
      sandbox,
      openings,
      ({ open }, evaluate) => open(evaluate),
      () => pause(PAUSE_COST)
    )
    for (const [place, { index, whole }] of openings.entries()) underway[index] = { ...opened[place]!, whole }
    yield* aliases.save
    const isOwn = ({ deviceTypeId }: { readonly deviceTypeId: string }) =>
      types.get(deviceTypeId)?.versions.every(({ compiled }) => ownModes.has(modeOf(compiled))) === true
    return {
      items: yield* complete(underway, types),
      devices:
        isFoundByDevice(devices.size, everybody, spanOf(page)) && devices.values().every(isOwn)
          ? [...devices.keys()]
          : undefined
    } satisfies ReprocessedPage
  })

  /** Each whole takes the place of the chunk that has completed it. */
  const openingsOfWholes = Effect.fnUntraced(function* (
    page: ReadonlyArray<RawCopy>,
    versions: ReadonlyArray<{ readonly deviceTypeId: string; readonly version: Version } | undefined>,
    wholes: ReadonlyArray<{ readonly index: number; readonly whole: Whole }>,
    aliases: AliasBatch
  ) {
    const generationOf = yield* findGenerations(
      sql,
      tenantId,
      wholes.map(({ index, whole }) => ({ gatewayId: page[index]!.deviceId, ...whole }))
    )
    return wholes.map(({ index, whole }): Opening => {
      const raw = page[index]!
      const { deviceTypeId, version } = versions[index]!
      const gatewayId = raw.deviceId
      const generation = generationOf({ gatewayId, ...whole }) ?? whole.generation
      const sent: SentMessage = {
        ...sentOf(raw, deviceTypeId, version),
        messageId: wholeMessageId(gatewayId, whole.correlationId, generation),
        receivedAt: whole.receivedAt,
        payload: whole.payload
      }
      return { index, open: opening(sent, raw, aliases), whole: { gatewayId, receivedAt: whole.receivedAt } }
    })
  })

  const complete = Effect.fnUntraced(function* (underway: ReadonlyArray<Underway>, types: Types) {
    const childOf = yield* childrenOf(
      underway.flatMap(({ opened, sent }) =>
        opened?._tag === "Children" && sent !== undefined ? [{ sent, demultiplexed: opened.children }] : []
      )
    )
    const ofChildren = yield* profiles.deviceTypes(childOf.deviceTypeIds)
    const allTypes: Types = new Map([...types, ...ofChildren])
    const typeOf: TypeOf = (deviceTypeId, number) => Result.merge(compiledVersion({ deviceTypeId, number }, allTypes))
    const finished: Array<Reprocessed> = []
    const pause = makePauses()
    const results = yield* eachWithExpressions(
      sandbox,
      underway,
      ({ opened, sent }, evaluate) => {
        if (opened?._tag !== "Children" || sent === undefined) return opened
        const childNamed = (identifier: string) => resolve(childOf, allTypes, sent, identifier)
        return normalizeChildren({ ...sent, evaluate }, opened, childNamed, typeOf)
      },
      ({ opened }) => (opened?._tag === "Children" ? pause(opened.children.entries.length) : Effect.void)
    )
    for (const [index, { failed = 0, isKept = false, opened, raw, whole }] of underway.entries()) {
      const result = results[index]
      const { messageId, receivedAt } = raw
      if (result?._tag !== "Normalized") {
        finished.push({ messageId, receivedAt, message: undefined, whole, isKept, failed })
        continue
      }
      // A gateway was heard also where nothing comes of its message.
      const isHeard = opened?._tag === "Children" || result.message.readings.length > 0
      const message = isHeard ? result.message : undefined
      finished.push({ messageId, receivedAt, message, whole, isKept, failed: failed + result.failed })
    }
    return finished
  })

  const resolve = (childOf: Children, types: Types, sent: SentMessage, identifier: string): ResolvedChild | Poison => {
    const child = childOf.of(sent, identifier)
    if (child instanceof Poison) return child
    const version = versionOf(types, child.deviceTypeId)
    if (version !== undefined) {
      const { deviceId, deviceTypeId } = child
      return { deviceId, deviceTypeId, typeVersion: version.number } as ResolvedChild
    }
    const message = `Device type ${child.deviceTypeId} of the child "${identifier}" has no published version that can be used.`
    return new Poison({ reason: "UnknownProcessingMode", message })
  }

  return { run }
})
