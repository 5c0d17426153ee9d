/**
 * The versions of a device type: what publishing and rolling back do to them. A version once published never changes, and
 * messages received before `effectiveAt` keep the version of their time; so rolling back publishes an old configuration again,
 * under a new number.
 * @module
 */
import { Result, Schema } from "effect"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { type DeviceTypeConfig } from "./device-type.ts"
import { type ConfigurationFault, publicationFaults } from "./device-type-trial.ts"
import { type Evaluate } from "./expression/expression.ts"
import { type Instant } from "./ids.ts"

/** A published version comes into force so much later, so that every process knows of it before. */
export const MICROS_UNTIL_IN_FORCE = 2_000_000

export interface PublishedVersion {
  readonly number: number
  readonly effectiveAt: Instant
  readonly config: DeviceTypeConfig
}

export interface Draft {
  readonly number: number
  readonly config: DeviceTypeConfig
}

/** What is to be written: the version, and the number that the draft, where there is one, has afterwards. */
export interface Publication {
  readonly version: PublishedVersion
  readonly draftNumber?: number
}

/** Nothing can be published or rolled back to; the message says what to do first. */
export class NothingToPublish extends Schema.TaggedError<NothingToPublish>()("NothingToPublish", {
  message: Schema.String
}) {}
/** The configuration would not work, or does not give what its test vectors expect. */
export class GateClosed extends Schema.TaggedError<GateClosed>()("GateClosed", {
  faults: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {}

/**
 * When a version published at `now` comes into force: at once where nothing came before it, since the first version applies to
 * everything earlier too; else two seconds later, and always after the version before it, whose clock may have been ahead.
 */
export const effectiveAtOf = (
  published: ReadonlyArray<Pick<PublishedVersion, "effectiveAt">>,
  now: Instant
): Instant => {
  const last = published.at(-1)
  return last === undefined ? now : Math.max(now + MICROS_UNTIL_IN_FORCE, last.effectiveAt + 1)
}

const nextNumber = (published: ReadonlyArray<PublishedVersion>): number => (published.at(-1)?.number ?? 0) + 1

const gated = (
  config: DeviceTypeConfig,
  published: ReadonlyArray<PublishedVersion>,
  now: Instant,
  childType: CompiledDeviceType | undefined,
  evaluate: Evaluate | undefined
): Result.Result<PublishedVersion, GateClosed> => {
  const faults: ReadonlyArray<ConfigurationFault> = publicationFaults(config, now, childType, evaluate)
  if (faults.length > 0) return Result.fail(new GateClosed({ faults }))
  return Result.succeed({ number: nextNumber(published), effectiveAt: effectiveAtOf(published, now), config })
}

/**
 * Publishes the draft, unless its test vectors or its configuration say no.
 * @param published oldest first
 * @param childType of a gateway: the version of its children's type in force, for the test vectors
 * @param evaluate for expressions that do not run in process; a test vector that needs one fails when absent
 */
export const decidePublish = (
  draft: Draft | undefined,
  published: ReadonlyArray<PublishedVersion>,
  now: Instant,
  childType?: CompiledDeviceType,
  evaluate?: Evaluate
): Result.Result<Publication, NothingToPublish | GateClosed> => {
  if (draft === undefined) {
    return Result.fail(new NothingToPublish({ message: "There is no draft to publish: write one first." }))
  }
  return Result.map(gated(draft.config, published, now, childType, evaluate), (version) => ({ version }))
}

/**
 * Publishes the configuration of an earlier version again. It passes the gate too: a release may do what an earlier one did
 * not. A draft stays, and moves behind it.
 */
export const decideRollback = (
  to: number,
  draft: Draft | undefined,
  published: ReadonlyArray<PublishedVersion>,
  now: Instant,
  childType?: CompiledDeviceType,
  evaluate?: Evaluate
): Result.Result<Publication, NothingToPublish | GateClosed> => {
  const target = published.find(({ number }) => number === to)
  if (target === undefined) {
    const message = `There is no published version ${to} to go back to: choose one of those that were published.`
    return Result.fail(new NothingToPublish({ message }))
  }
  if (target === published.at(-1)) {
    return Result.fail(new NothingToPublish({ message: `Version ${to} is the one in force already.` }))
  }
  return Result.map(gated(target.config, published, now, childType, evaluate), (version) => ({
    version,
    ...(draft !== undefined && { draftNumber: version.number + 1 })
  }))
}
