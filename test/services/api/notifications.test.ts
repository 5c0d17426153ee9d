import { noticesFor } from "@argusiq/domain/notification/notification.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { insertDeliveries, insertNotifications } from "@argusiq/layers/notifications/noticeStatements.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { breach } from "../activity-creator/world.ts"
import { addOrganization, Api, apiServer } from "./apiServer.ts"

const tell = Effect.fnUntraced(function* (organizationId: string, ...actions: ReadonlyArray<Record<string, string>>) {
  const sql = yield* PipelineSql
  const event = breach(
    { tenantId: organizationId as TenantId, activityTypeId: "" },
    { payload: { message: "Too hot", actions } }
  )
  const { deliveries, notifications } = noticesFor(event, [])
  yield* insertNotifications(sql, notifications)
  yield* insertDeliveries(sql, deliveries)
  return event
})
const notify = (to: string, channel = "in_app") => ({ type: "notify", channel, to })

layer(apiServer, { excludeTestServices: true })("notifications", (it) => {
  /** An organization, its technician and its engineer. */
  const world = Effect.gen(function* () {
    const api = yield* Api
    const sql = yield* OwnerSql
    const technician = yield* addOrganization(`t-${randomUUID()}`, "technician")
    const engineer = yield* addOrganization(`e-${randomUUID()}`, "engineer")
    const { organizationId } = technician
    yield* sql`update memberships set tenant_id = ${organizationId} where user_id = ${engineer.userId}`
    const person = Effect.fnUntraced(function* ({ email, userId }: typeof technician) {
      const token = yield* api.login(email)
      const call = (method: string, path: string) => api.call(method, `/api/v1/${path}`, { token })
      const unread = Effect.map(call("GET", "notifications/unread-count"), ({ body }) => Number(body.count))
      return { call, unread, email, userId }
    })
    return { organizationId, technician: yield* person(technician), engineer: yield* person(engineer) }
  })

  it.effect("reach those whom they are addressed to, by id, address or role, and nobody else", () =>
    Effect.gen(function* () {
      const { engineer, organizationId, technician } = yield* world
      yield* tell(organizationId, notify("technician"))
      yield* tell(organizationId, notify(engineer.userId))
      yield* tell(organizationId, notify(engineer.email.toUpperCase()))
      yield* tell(organizationId, notify("technician"), notify("engineer"))
      yield* tell(organizationId, notify("admin"))
      yield* tell((yield* addOrganization(`o-${randomUUID()}`)).organizationId, notify("technician"))
      assert.strictEqual(yield* technician.unread, 2)
      assert.strictEqual(yield* engineer.unread, 3)
    })
  )

  it.effect("are read by each person alone", () =>
    Effect.gen(function* () {
      const { engineer, organizationId, technician } = yield* world
      const event = yield* tell(organizationId, notify("technician"), notify("engineer"))
      yield* tell(organizationId, notify("technician"))
      const { body } = yield* technician.call("GET", "notifications?limit=1")
      assert.isString(body.nextCursor)
      const older = yield* technician.call("GET", `notifications?limit=1&cursor=${body.nextCursor}`)
      const [first] = older.body.items
      assert.deepInclude(first, { eventId: event.id, title: "Too hot", severity: "critical", readAt: null })
      const read = yield* technician.call("POST", `notifications/${first.id}/read`)
      assert.strictEqual(read.status, 200, read.text)
      assert.isString(read.body.readAt)
      const again = yield* technician.call("POST", `notifications/${first.id}/read`)
      assert.deepStrictEqual(again.body, read.body)
      assert.strictEqual(yield* technician.unread, 1)
      assert.strictEqual(yield* engineer.unread, 1)
      const unread = yield* technician.call("GET", "notifications?unread=true")
      assert.lengthOf(unread.body.items, 1)
      assert.strictEqual((yield* engineer.call("POST", `notifications/${unread.body.items[0].id}/read`)).status, 404)
      assert.deepStrictEqual((yield* technician.call("POST", "notifications/read")).body, { count: 0 })
      assert.strictEqual(yield* engineer.unread, 1)
    })
  )

  it.effect("from before somebody became a member are not new to them", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const { organizationId, technician } = yield* world
      yield* tell(organizationId, notify("technician"))
      yield* sql`update memberships set created_at = now() + interval '1 hour' where user_id = ${technician.userId}`
      assert.strictEqual(yield* technician.unread, 0)
    })
  )

  it.effect("by e-mail and webhook are listed with what became of them, and a failed webhook is sent again", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const { engineer, organizationId } = yield* world
      const url = "https://hooks.example.com/a"
      const event = yield* tell(organizationId, notify("a@example.com", "email"), { type: "webhook", url })
      const { body: letters } = yield* engineer.call("GET", "email-deliveries?state=pending")
      assert.lengthOf(letters.items, 1)
      assert.deepInclude(letters.items[0], { recipients: ["a@example.com"], attempts: 0, endedAt: null })
      const { body: webhooks } = yield* engineer.call("GET", `webhook-deliveries?eventId=${event.id}`)
      const [delivery] = webhooks.items
      assert.deepInclude(delivery, { url, state: "pending", eventType: "THRESHOLD_BREACH", lastStatus: null })
      const path = `webhook-deliveries/${delivery.id}/retry`
      assert.strictEqual((yield* engineer.call("POST", path)).status, 409)
      yield* sql`update webhook_deliveries set state = 'failed', attempts = 31, ended_at = now(), error = 'no'
        where id = ${delivery.id}`
      assert.lengthOf((yield* engineer.call("GET", "webhook-deliveries?state=failed")).body.items, 1)
      const retried = yield* engineer.call("POST", path)
      assert.strictEqual(retried.status, 202, retried.text)
      assert.deepInclude(retried.body, { state: "pending", endedAt: null })
      const stranger = yield* world
      assert.deepStrictEqual((yield* stranger.engineer.call("GET", "webhook-deliveries")).body.items, [])
      assert.strictEqual((yield* stranger.engineer.call("POST", path)).status, 404)
    })
  )

  it.effect("are signed with a secret of the organization, which can be changed", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* world, yield* world]
      const { body } = yield* one.engineer.call("GET", "webhook-secret")
      assert.match(body.secret, /^whsec_[\w-]{43}$/)
      assert.deepStrictEqual((yield* one.engineer.call("GET", "webhook-secret")).body, body)
      assert.notStrictEqual((yield* other.engineer.call("GET", "webhook-secret")).body.secret, body.secret)
      const changed = yield* one.engineer.call("POST", "webhook-secret")
      assert.notStrictEqual(changed.body.secret, body.secret)
      assert.isAbove(Date.parse(changed.body.previousUntil), Date.now() + 86_000_000)
    })
  )
})
