/**
 * A device type's configuration, compiled once when it is loaded so that a message costs property reads and arithmetic.
 * @module
 */
import { Result, Schema } from "effect"
import { compileChunking, type CompiledChunking } from "./chunks.ts"
import { compileDemultiplexer, type Demultiplexer } from "./demultiplex.ts"
import { ChunkingConfig, type DeviceTypeConfig } from "./device-type.ts"
import { compileExtraction, type Extractor, type Problem } from "./extract.ts"
import { compilePath, type PathReader } from "./json-path.ts"
import { compileMessageSchema, type SchemaCheck } from "./json-schema.ts"
import { compileAdapter } from "./protocol/compile.ts"
import { type Decoder } from "./protocol/decoder.ts"
import { compilePortSplitter, type PortSplitter } from "./rtu.ts"
import { compileTransformations, type Transform } from "./transformations.ts"

export interface CompiledDeviceType {
  readonly config: DeviceTypeConfig
  readonly decoder: Decoder
  /** Of the modes that split messages; undefined in the others. A chunked gateway has both of the first. */
  readonly demultiplexer: Demultiplexer | undefined
  readonly chunking: CompiledChunking | undefined
  readonly portSplitter: PortSplitter | undefined
  readonly checkSchema: SchemaCheck | undefined
  readonly extract: Extractor
  readonly timestampReaders: ReadonlyArray<PathReader> // the first present wins
  readonly transform: Transform | undefined
  /** The unit of each metric that has one, after the transformations. */
  readonly units: ReadonlyMap<string, string>
}

/** A configuration that cannot be used: everything that is wrong with it, by path. */
export class InvalidDeviceType extends Schema.TaggedError<InvalidDeviceType>()("InvalidDeviceType", {
  problems: Schema.NonEmptyArray(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {
  override get message(): string {
    return this.problems.map(({ message, path }) => `${path}: ${message}`).join("\n")
  }
}

type Splitting = Pick<CompiledDeviceType, "demultiplexer" | "chunking" | "portSplitter">

const defaultChunking = Schema.decodeUnknownSync(ChunkingConfig)({})

/** What the processing mode needs to split messages; chunks are put together as JSON, so they must be JSON. */
const compileSplitting = (config: DeviceTypeConfig, problems: Array<Problem>): Splitting => {
  const { demuxStrategy, processingMode, timestamp } = config
  const nothing: Splitting = { demultiplexer: undefined, chunking: undefined, portSplitter: undefined }
  if (processingMode === "endpoint") return nothing
  if (processingMode === "rtu_multiport") {
    const strategy = demuxStrategy ?? { portsPath: "$.ports" }
    if ("portsPath" in strategy) {
      return { ...nothing, portSplitter: compilePortSplitter(strategy, timestamp, problems) }
    }
    problems.push({ path: "$.demuxStrategy", message: "The strategy of a multi-port device has a portsPath." })
    return nothing
  }
  // what a gateway's children are cannot be guessed: such a version cannot be published, but one that was is loaded
  if (demuxStrategy === undefined) return nothing
  if (!("childDevicesPath" in demuxStrategy)) {
    problems.push({ path: "$.demuxStrategy", message: "The strategy of a gateway has a childDevicesPath." })
    return nothing
  }
  const demultiplexer = compileDemultiplexer(demuxStrategy, timestamp, problems)
  if (processingMode === "gateway") return { ...nothing, demultiplexer }
  if (config.protocolAdapter !== "json") {
    problems.push({ path: "$.protocolAdapter", message: "Chunks are JSON: use the adapter json." })
  }
  const chunking = compileChunking(config.chunkingConfig ?? defaultChunking, problems)
  return { ...nothing, demultiplexer, chunking }
}

/**
 * Compiles a configuration for use on messages, or reports everything in it that this version cannot do. Run before a version
 * is published, and when a published one is loaded.
 */
export const compileDeviceType = (config: DeviceTypeConfig): Result.Result<CompiledDeviceType, InvalidDeviceType> => {
  const problems: Array<Problem> = []
  const decoder = compileAdapter(config.protocolAdapter, problems)
  const splitting = compileSplitting(config, problems)
  if (decoder.stateful && config.processingMode !== "endpoint") {
    // its metrics are no list of children, and their names belong to the one edge node that gave them
    problems.push({ path: "$.processingMode", message: "Sparkplug B is read in the mode endpoint only." })
  }
  const extract = compileExtraction(config.extractionRules, problems)
  const timestampReaders: Array<PathReader> = []
  config.timestamp.path.forEach((path, index) => {
    const reader = compilePath(path)
    const where = `$.timestamp.path[${index}]`
    if (Result.isFailure(reader)) problems.push({ path: where, message: reader.failure })
    else if (reader.success.searches)
      problems.push({ path: where, message: "It must name one value: no .., * or slices." })
    else timestampReaders.push(reader.success.read)
  })
  for (const field of ["maxAheadSeconds", "maxBehindSeconds"] as const) {
    if (config.timestamp[field] < 0) problems.push({ path: `$.timestamp.${field}`, message: "It may not be negative." })
  }
  const units = new Map<string, string>()
  for (const [key, rule] of Object.entries(config.extractionRules))
    if (rule.unit !== undefined) units.set(key, rule.unit)
  const transform = compileTransformations(config, units, problems)
  let checkSchema: SchemaCheck | undefined
  if (config.messageSchema !== undefined) {
    const schema = compileMessageSchema(config.messageSchema)
    if (Result.isSuccess(schema)) checkSchema = schema.success
    else problems.push(...schema.failure)
  }
  const [first, ...others] = problems
  if (first !== undefined) return Result.fail(new InvalidDeviceType({ problems: [first, ...others] }))
  return Result.succeed({ config, decoder, ...splitting, checkSchema, extract, timestampReaders, transform, units })
}
