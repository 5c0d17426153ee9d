/**
 * The documents of assets and spaces. The file is there before its row, and goes after it: a row never names a missing file.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { documentTypeOf } from "@argusiq/domain/document-types.ts"
import { type Document } from "@argusiq/domain/http/documents.ts"
import { Context, Effect, Layer, Result } from "effect"
import { createHash } from "node:crypto"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { DocumentFiles, type StorageUnavailable } from "../documents/DocumentFiles.ts"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { NotRegistered, NotValid, orRefusal, orUnavailable, type WriteRefusal } from "./refusals.ts"

type OwnerType = Document["ownerType"]

export interface DocumentFile {
  readonly document: Document
  readonly content: Uint8Array
}

interface DocumentRow {
  readonly id: string
  readonly owner_type: OwnerType
  readonly owner_id: string
  readonly name: string
  readonly media_type: string
  readonly size: number
  readonly sha256: string
  readonly storage_key: string
  readonly created_at: Date
  readonly created_by: string | null
}
const toDocument = (row: DocumentRow): Document => ({
  id: row.id,
  ownerType: row.owner_type,
  ownerId: row.owner_id,
  name: row.name,
  mediaType: row.media_type,
  size: row.size,
  sha256: row.sha256,
  createdAt: row.created_at.toISOString(),
  createdBy: row.created_by
})

const tables: Readonly<Record<OwnerType, string>> = { asset: "assets", space: "spaces" }

export class Documents extends Context.Service<
  Documents,
  {
    /** Newest first. */
    list(
      actor: Actor,
      ownerType: OwnerType,
      ownerId: string
    ): Effect.Effect<ReadonlyArray<Document>, NotRegistered | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<Document, NotRegistered | DatabaseUnavailable>
    add(
      actor: Actor,
      ownerType: OwnerType,
      ownerId: string,
      file: { readonly name: string; readonly content: Uint8Array }
    ): Effect.Effect<Document, NotRegistered | NotValid | StorageUnavailable | WriteRefusal>
    read(
      actor: Actor,
      id: string
    ): Effect.Effect<DocumentFile, NotRegistered | StorageUnavailable | DatabaseUnavailable>
    remove(actor: Actor, id: string): Effect.Effect<void, NotRegistered | DatabaseUnavailable>
    /** Removes files that no row names. What cannot be removed is logged and left. */
    discard(storageKeys: ReadonlyArray<string>): Effect.Effect<void>
  }
>()("argusiq/layers/registry/Documents") {
  static readonly layer = Layer.effect(
    Documents,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const files = yield* DocumentFiles
      const scoped = inTenantOf(sql)

      const row = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* sql<DocumentRow>`select * from documents where id = ${id}::uuid`
        if (row === undefined) return yield* new NotRegistered({ what: "document" })
        return row
      })
      const owner = Effect.fnUntraced(function* (ownerType: OwnerType, ownerId: string, rest = "") {
        const [found] = yield* sql`
          select id from ${sql.literal(tables[ownerType])} where id = ${ownerId}::uuid ${sql.literal(rest)}`
        if (found === undefined) return yield* new NotRegistered({ what: ownerType })
      })

      const list = Effect.fn("Documents.list")((actor: Actor, ownerType: OwnerType, ownerId: string) =>
        Effect.gen(function* () {
          yield* owner(ownerType, ownerId)
          const rows = yield* sql<DocumentRow>`
            select * from documents where owner_type = ${ownerType} and owner_id = ${ownerId}::uuid
            order by created_at desc, id desc`
          return rows.map(toDocument)
        }).pipe(scoped(actor), orUnavailable)
      )
      const get = Effect.fn("Documents.get")((actor: Actor, id: string) =>
        Effect.map(row(id), toDocument).pipe(scoped(actor), orUnavailable)
      )

      const discard = Effect.fn("Documents.discard")((storageKeys: ReadonlyArray<string>) =>
        Effect.forEach(
          storageKeys,
          (key) =>
            Effect.catch(files.remove(key), ({ cause }) =>
              Effect.logWarning(`The file ${key} of a removed document could not be removed: remove it by hand`, cause)
            ),
          { discard: true }
        )
      )

      const add = Effect.fn("Documents.add")(function* (
        actor: Actor,
        ownerType: OwnerType,
        ownerId: string,
        { content, name }: { readonly name: string; readonly content: Uint8Array }
      ) {
        yield* owner(ownerType, ownerId).pipe(scoped(actor), orUnavailable)
        const mediaType = documentTypeOf(name, content)
        if (Result.isFailure(mediaType)) return yield* new NotValid({ faults: [mediaType.failure] })
        const id = newId()
        const key = `${actor.tenantId}/${id}`
        yield* files.write(key, content)
        const insert = Effect.gen(function* () {
          yield* owner(ownerType, ownerId, "for key share") // it may have been removed meanwhile
          yield* sql`insert into documents ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            owner_type: ownerType,
            owner_id: ownerId,
            name,
            media_type: mediaType.success,
            size: content.length,
            sha256: createHash("sha256").update(content).digest("hex"),
            storage_key: key,
            created_by: actor.userId ?? null
          })}`
          return toDocument(yield* row(id))
        })
        return yield* insert.pipe(
          scoped(actor),
          orRefusal,
          Effect.onError(() => discard([key]))
        )
      })

      const read = Effect.fn("Documents.read")(function* (actor: Actor, id: string) {
        const found = yield* row(id).pipe(scoped(actor), orUnavailable)
        const content = yield* files.read(found.storage_key)
        if (content === undefined) {
          yield* Effect.logError(`The file ${found.storage_key} of document ${id} is missing: restore it from a backup`)
          return yield* new NotRegistered({ what: "document" })
        }
        return { document: toDocument(found), content } satisfies DocumentFile
      })

      const remove = Effect.fn("Documents.remove")(function* (actor: Actor, id: string) {
        const removed = yield* sql<{ storage_key: string }>`
          delete from documents where id = ${id}::uuid returning storage_key`.pipe(scoped(actor), orUnavailable)
        if (removed.length === 0) return yield* new NotRegistered({ what: "document" })
        yield* discard(removed.map(({ storage_key }) => storage_key))
      })

      return Documents.of({ list, get, add, read, remove, discard })
    })
  )
}
