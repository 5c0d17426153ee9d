/**
 * Writes down that a device has logged in with a certificate for the first time.
 * @module
 */
import { type PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { type CertificateOwner } from "@argusiq/layers/profiles/Profiles.ts"
import { type Context, Effect, Queue } from "effect"

const MAX_WAITING = 10_000
const MAX_REMEMBERED = 100_000

export class CertificateUses {
  readonly #queue: Queue.Queue<string>
  /** What is in memory does not learn of it: that changes nothing about who may come in. */
  readonly #told = new Set<string>()

  private constructor(queue: Queue.Queue<string>) {
    this.#queue = queue
  }

  static make = Effect.fn("CertificateUses.make")(function* (sql: Context.Service.Shape<typeof PipelineSql>) {
    const queue = yield* Queue.dropping<string>(MAX_WAITING)
    const uses = new CertificateUses(queue)
    const store = (ids: ReadonlyArray<string>) =>
      sql`update device_certificates set first_used_at = now()
        where first_used_at is null and id = any(${[...ids]}::text[]::uuid[])`.pipe(
        Effect.catchCause((cause) => {
          for (const id of ids) uses.#told.delete(id) // its next login tells it again
          return Effect.logDebug("The first use of certificates is not stored", cause)
        })
      )
    yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.takeBetween(queue, 1, 1_000), store)))
    return uses
  })

  /** Never waits. */
  note({ certificateId, used }: CertificateOwner) {
    if (used || this.#told.has(certificateId)) return
    if (this.#told.size >= MAX_REMEMBERED) this.#told.clear()
    this.#told.add(certificateId)
    Queue.offerUnsafe(this.#queue, certificateId)
  }
}
