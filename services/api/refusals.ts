/**
 * What the layers refuse, in the words of REST. Another tenant's device and a missing one read the same.
 * @module
 */
import { type BusUnavailable, type CacheUnavailable, type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  Conflict,
  Forbidden,
  InvalidRequest,
  NotFound,
  PreconditionFailed,
  Unavailable,
  Unprocessable
} from "@argusiq/domain/http/problems.ts"
import { type StorageUnavailable } from "@argusiq/layers/documents/DocumentFiles.ts"
import { type UnknownJob } from "@argusiq/layers/jobs/Jobs.ts"
import { type InvalidConverter } from "@argusiq/layers/registry/ProtocolConverters.ts"
import {
  type AlreadyTaken,
  type BadCursor,
  type BadReference,
  type NotAllowed,
  type NotRegistered,
  type NotValid,
  type StaleVersion,
  type Unstorable,
  type WrongState
} from "@argusiq/layers/registry/refusals.ts"
import { type NotPublishable } from "@argusiq/layers/registry/resolvedConfig.ts"
import { Effect } from "effect"

interface Refusals {
  readonly NotRegistered: NotRegistered
  readonly AlreadyTaken: AlreadyTaken
  readonly BadReference: BadReference
  readonly NotValid: NotValid
  readonly WrongState: WrongState
  readonly NotAllowed: NotAllowed
  readonly UnknownJob: UnknownJob
  readonly StaleVersion: StaleVersion
  readonly Unstorable: Unstorable
  readonly BadCursor: BadCursor
  readonly NotPublishable: NotPublishable
  readonly InvalidConverter: InvalidConverter
  readonly StorageUnavailable: StorageUnavailable
  readonly DatabaseUnavailable: DatabaseUnavailable
  readonly BusUnavailable: BusUnavailable
  readonly CacheUnavailable: CacheUnavailable
}
type Refusal = Refusals[keyof Refusals]

const problems = {
  NotRegistered: ({ what }: NotRegistered) => new NotFound({ detail: `There is no such ${what}.` }),
  AlreadyTaken: ({ path }: AlreadyTaken) =>
    new Conflict({ detail: "Another one has this value already.", errors: [{ path, message: "is already in use" }] }),
  BadReference: ({ message, path }: BadReference) => new Unprocessable({ errors: [{ path, message }] }),
  NotValid: ({ faults }: NotValid) => new Unprocessable({ errors: faults }),
  UnknownJob: () => new NotFound({ detail: "There is no such job." }),
  NotAllowed: ({ message }: NotAllowed) => new Forbidden({ detail: message }),
  WrongState: ({ message }: WrongState) => new Conflict({ detail: message }),
  StaleVersion: ({ present }: StaleVersion) =>
    new PreconditionFailed({
      detail: `It has version ${present} by now: read it again, then repeat your change with if-match: "${present}".`
    }),
  Unstorable: () =>
    new Unprocessable({ detail: "A text holds a character that cannot be stored (NUL or half of a surrogate pair)." }),
  BadCursor: () =>
    new InvalidRequest({
      errors: [{ path: "query.cursor", message: "was not given by this list with this order: start without a cursor" }]
    }),
  NotPublishable: ({ faults }: NotPublishable) =>
    new Unprocessable({ detail: "The configuration cannot be published.", errors: faults }),
  InvalidConverter: ({ faults }: InvalidConverter) =>
    new Unprocessable({ detail: "The converter would not work.", errors: faults }),
  StorageUnavailable: () => new Unavailable({ detail: "The storage of documents does not answer. Try again." }),
  DatabaseUnavailable: () => new Unavailable({ detail: "The database does not answer. Try again." }),
  BusUnavailable: () => new Unavailable({ detail: "The bus does not answer. Try again." }),
  CacheUnavailable: () => new Unavailable({ detail: "The cache does not answer. Try again." })
}
type Problems = typeof problems

/** The problem that a refusal becomes; what is none stays what it is. */
export type ProblemOf<E> = E extends Refusal ? ReturnType<Problems[E["_tag"]]> : E

const isRefusal = (error: unknown): error is Refusal =>
  typeof error === "object" && error !== null && "_tag" in error && Object.hasOwn(problems, String(error._tag))

const problemOf = (refusal: Refusal) => {
  const toProblem = problems[refusal._tag] as (refusal: Refusal) => ReturnType<Problems[keyof Problems]>
  return toProblem(refusal)
}

export const orProblem = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, ProblemOf<E>, R> =>
  Effect.mapError(effect, (error) => (isRefusal(error) ? problemOf(error) : error) as ProblemOf<E>)
