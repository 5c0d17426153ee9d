/**
 * The files of documents, by their storage keys. What a file is and whose stands in the database.
 * @module
 */
import { Context, type Effect, Schema } from "effect"

/** The storage does not answer, or is full. */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  cause: Schema.Defect()
}) {}

export class DocumentFiles extends Context.Service<
  DocumentFiles,
  {
    /** Done when it is on disk. A key is written once. */
    write(key: string, content: Uint8Array): Effect.Effect<void, StorageUnavailable>
    /** Undefined: there is none. */
    read(key: string): Effect.Effect<Uint8Array | undefined, StorageUnavailable>
    /** One that is not there is removed already. */
    remove(key: string): Effect.Effect<void, StorageUnavailable>
  }
>()("argusiq/layers/documents/DocumentFiles") {}
