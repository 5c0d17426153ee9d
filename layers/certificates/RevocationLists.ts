/**
 * The installation's revocation list, of all tenants: serial numbers and reasons, nothing that names anybody.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Context, Effect, Layer, Semaphore } from "effect"
import { PipelineSql } from "../database/Sql.ts"
import { CertificateAuthority } from "./CertificateAuthority.ts"
import { makeRevocationList, type RevocationList } from "./revocationList.ts"
import { crlUrl } from "./settings.ts"

/** Anybody may ask: a list is made at most so often. */
const REMADE_AFTER_MILLIS = 2_000

export class RevocationLists extends Context.Service<
  RevocationLists,
  {
    /** At most 2 s old. */
    readonly current: Effect.Effect<RevocationList, DatabaseUnavailable>
    /** PEM of the authority. */
    readonly authority: string
  }
>()("argusiq/layers/certificates/RevocationLists") {
  static readonly layer = Layer.effect(
    RevocationLists,
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const authority = yield* CertificateAuthority
      const url = yield* crlUrl
      const oneAtATime = yield* Semaphore.make(1)
      let made: { readonly at: number; readonly list: RevocationList } | undefined

      /** What was revoked, and what was renewed and has come to the end of its overlap; a day after its own end it is left out. */
      const make = Effect.gen(function* () {
        const at = Date.now()
        const rows = yield* sql<{ serial_number: string; revoked_at: Date; reason: string }>`
          select serial_number, coalesce(revoked_at, accepted_until) as revoked_at,
            case when revoked_at is null then 'superseded' else revoked_reason end as reason
          from device_certificates
          where valid_until > now() - interval '1 day'
            and (revoked_at is not null or (renewed_at is not null and accepted_until <= now()))
          order by revoked_at`
        const revocations = rows.map(({ reason, revoked_at, serial_number }) => ({
          serialNumber: serial_number,
          revokedAt: revoked_at,
          reason
        }))
        made = { at, list: makeRevocationList(authority.signing, revocations, url) }
        return made.list
      }).pipe(Effect.mapError((cause) => new DatabaseUnavailable({ cause })))

      const current = oneAtATime.withPermit(
        Effect.suspend(() =>
          made !== undefined && Math.abs(Date.now() - made.at) < REMADE_AFTER_MILLIS ? Effect.succeed(made.list) : make
        )
      )
      return RevocationLists.of({ current, authority: authority.chain })
    })
  )
}
