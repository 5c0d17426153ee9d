import { noticesFor } from "@argusiq/domain/notification/notification.ts"
import { isSigned } from "@argusiq/domain/notification/signature.ts"
import { makeDispatch } from "@argusiq/jobs/Deliveries.ts"
import { Failpoints } from "@argusiq/jobs/Failpoints.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Mail } from "@argusiq/layers/notifications/Mail.ts"
import { insertDeliveries, insertNotifications } from "@argusiq/layers/notifications/noticeStatements.ts"
import { WebhookSender } from "@argusiq/layers/notifications/WebhookSender.ts"
import { secretOf } from "@argusiq/layers/notifications/webhookSecrets.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { until } from "../../layers/bus/ConsumerWorld.ts"
import { httpReceiver, smtpReceiver } from "../../layers/notifications/receivers.ts"
import { testDatabase } from "../../support/postgres.ts"
import { addMember, breach, makeOrganization, noticesOf, type Organization } from "../activity-creator/world.ts"

const sender = (allowPrivate = true) =>
  WebhookSender.layer({ allowPrivate, timeoutMillis: 2_000, maxAnswerBytes: 1_000 })

/** What an event with these actions comes to. */
const tell = Effect.fnUntraced(function* (
  organization: Organization,
  ...actions: ReadonlyArray<Record<string, string>>
) {
  const sql = yield* PipelineSql
  const event = breach(organization, { payload: { message: "Too hot", actions } })
  const { deliveries, notifications } = noticesFor(event, [])
  yield* insertDeliveries(sql, deliveries)
  yield* insertNotifications(sql, notifications)
  return event
})
const webhook = (port: number, path = "/") => ({ type: "webhook", url: `http://127.0.0.1:${port}${path}` })
const letter = (to: string) => ({ type: "notify", channel: "email", to })

/** One round, to its end; begins with what is due of the organization, or with everything of it. */
const dispatch = Effect.fnUntraced(function* (organization: Organization, isEverythingDue = true) {
  const sql = yield* OwnerSql
  for (const table of [sql.literal("webhook_deliveries"), sql.literal("notifications")]) {
    yield* sql`update ${table} set next_at = now() + interval '1 hour'
      where state = 'pending' and tenant_id <> ${organization.tenantId}`
    if (!isEverythingDue) continue
    yield* sql`update ${table} set next_at = now() where state = 'pending' and tenant_id = ${organization.tenantId}`
  }
  const attempts = Effect.map(noticesOf(organization), ({ deliveries, notifications }) =>
    [...deliveries, ...notifications].reduce((sum, one) => sum + one.attempts, 0)
  )
  const before = yield* attempts
  const begun = yield* yield* makeDispatch
  yield* until(
    "the round is over",
    Effect.map(attempts, (now) => now >= before + begun)
  )
  return begun
}, Effect.scoped)

layer(testDatabase, { excludeTestServices: true })("deliveries", (it) => {
  it.effect("a webhook is signed with its organization's secret and carries the event", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const { port, received } = yield* httpReceiver()
      const event = yield* tell(organization, webhook(port, "/hook"))
      assert.strictEqual(yield* dispatch(organization), 1)
      const [delivery] = (yield* noticesOf(organization)).deliveries
      assert.deepInclude(delivery, { state: "delivered", attempts: 1, last_status: 204, error: null })
      const [request] = received
      assert.strictEqual(request?.headers["idempotency-key"], delivery?.id)
      assert.strictEqual(request?.headers["argusiq-event"], "THRESHOLD_BREACH")
      const body = JSON.parse(request!.body)
      assert.deepInclude(body, { type: "THRESHOLD_BREACH", activities: [] })
      assert.deepInclude(body.event, { id: event.id, message: "Too hot", severity: "critical", alarmId: null })
      const { secret } = yield* secretOf(yield* PipelineSql, organization.tenantId)
      const other = yield* secretOf(yield* PipelineSql, (yield* makeOrganization).tenantId)
      const header = String(request!.headers["argusiq-signature"])
      const now = Date.now() / 1_000
      assert.isTrue(isSigned(secret, header, request!.body, now))
      assert.isFalse(isSigned(other.secret, header, request!.body, now))
      assert.strictEqual(yield* dispatch(organization), 0, "nothing is due any more")
    }).pipe(Effect.provide(Layer.merge(Mail.off, sender())))
  )

  it.effect("a webhook that fails is sent again later, under the same key and with the same body", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      let status = 500
      // A receiver may say what PostgreSQL cannot hold.
      const words = Buffer.concat([Buffer.from("not yet\0"), Buffer.from([0xff])])
      const { port, received } = yield* httpReceiver((_, response) => void response.writeHead(status).end(words))
      yield* tell(organization, webhook(port))
      yield* dispatch(organization)
      const [waiting] = (yield* noticesOf(organization)).deliveries
      assert.deepInclude(waiting, { state: "pending", attempts: 1, last_status: 500 })
      assert.include(waiting?.error, "answered 500: not yet")
      assert.closeTo(waiting!.waits, 10, 3)
      assert.strictEqual(yield* dispatch(organization, false), 0, "it waits")
      status = 200
      yield* dispatch(organization)
      assert.deepInclude((yield* noticesOf(organization)).deliveries[0], {
        state: "delivered",
        attempts: 2,
        last_status: 200,
        error: null
      })
      assert.lengthOf(received, 2)
      assert.strictEqual(received[0]?.body, received[1]?.body)
      assert.strictEqual(received[0]?.headers["idempotency-key"], received[1]?.headers["idempotency-key"])
    }).pipe(Effect.provide(Layer.merge(Mail.off, sender())))
  )

  it.effect("a webhook is given up after a day, at once where its address is gone or not allowed, and says why", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const organization = yield* makeOrganization
      const { port } = yield* httpReceiver(({ path }, response) =>
        response.writeHead(path === "/gone" ? 410 : 503).end()
      )
      yield* tell(organization, webhook(port, "/away"), webhook(port, "/gone"))
      yield* sql`update webhook_deliveries set attempts = 30, first_attempt_at = now() - interval '24 hours'
        where url like '%/away' and tenant_id = ${organization.tenantId}`
      yield* dispatch(organization)
      const told = new Map((yield* noticesOf(organization)).deliveries.map((one) => [one.url.split("/").at(-1), one]))
      assert.deepInclude(told.get("away"), { state: "failed", attempts: 31, last_status: 503 })
      assert.include(told.get("away")?.error, "Given up after 31 attempts in 24 h")
      assert.deepInclude(told.get("gone"), { state: "failed", attempts: 1, last_status: 410 })
    }).pipe(Effect.provide(Layer.merge(Mail.off, sender())))
  )

  it.effect("a webhook into the platform's own network is refused for good, and nothing is sent", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const { connections, port } = yield* httpReceiver()
      yield* tell(organization, webhook(port))
      yield* dispatch(organization)
      const [delivery] = (yield* noticesOf(organization)).deliveries
      assert.deepInclude(delivery, { state: "failed", attempts: 1, last_status: null })
      assert.include(delivery?.error, "127.0.0.1, which is not public")
      assert.strictEqual(connections(), 0)
    }).pipe(Effect.provide(Layer.merge(Mail.off, sender(false))))
  )

  it.effect("a process that ends after a receiver has taken a webhook sends it again under its key", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const { port, received } = yield* httpReceiver()
      yield* tell(organization, webhook(port))
      const dies = (at: string) => {
        if (at === "delivered") throw new Error("the process ends")
      }
      yield* Effect.gen(function* () {
        yield* yield* makeDispatch
        yield* until(
          "the receiver has it",
          Effect.sync(() => received.length === 1)
        )
        yield* Effect.sleep(200)
      }).pipe(Effect.scoped, Effect.provideService(Failpoints, dies))
      assert.strictEqual((yield* noticesOf(organization)).deliveries[0]?.state, "pending")
      yield* dispatch(organization)
      assert.strictEqual((yield* noticesOf(organization)).deliveries[0]?.state, "delivered")
      assert.lengthOf(received, 2)
      assert.strictEqual(received[0]?.headers["idempotency-key"], received[1]?.headers["idempotency-key"])
    }).pipe(Effect.provide(Layer.merge(Mail.off, sender())))
  )

  it.effect("a receiver that does not answer holds up no other organization", () =>
    Effect.gen(function* () {
      const [slow, quick] = [yield* makeOrganization, yield* makeOrganization]
      const stuck = yield* httpReceiver(() => {})
      const { port, received } = yield* httpReceiver()
      // More than one look for what is due finds.
      for (let count = 0; count < 110; count++) yield* tell(slow, webhook(stuck.port))
      yield* tell(quick, webhook(port))
      const round = yield* makeDispatch
      assert.strictEqual(yield* round, 5, "four of one organization, one of the other")
      yield* until(
        "the other one's is taken",
        Effect.sync(() => received.length === 1),
        1_500
      )
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(Mail.off, sender())))
  )

  it.effect("a letter goes to addresses, users and everybody with a role, once each", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const { letters, port } = yield* smtpReceiver()
      const email = (name: string) => `${name}.${organization.tenantId}@example.com`
      const user = yield* addMember(organization, "engineer", email("user"))
      yield* addMember(organization, "technician", email("One"))
      yield* addMember(organization, "technician", email("two"))
      yield* addMember(organization, "viewer", email("viewer"))
      yield* addMember(yield* makeOrganization, "technician", email("stranger"))
      yield* tell(organization, letter("technician"), letter(user), letter("Guest@example.com"), letter(email("two")))
      const mail = Mail.layer({ url: Redacted.make(`smtp://127.0.0.1:${port}`), from: "ArgusIQ <argusiq@example.com>" })
      yield* dispatch(organization).pipe(Effect.provide(mail))
      const expected = [email("one"), email("two"), email("user"), "guest@example.com"].toSorted()
      assert.deepStrictEqual(letters.flatMap(({ to }) => to).toSorted(), expected)
      const [notification] = (yield* noticesOf(organization)).notifications
      assert.deepInclude(notification, { state: "delivered", attempts: 1, error: null })
      assert.sameMembers([...notification!.delivered_to], expected)
      assert.strictEqual(letters[0]?.from, "argusiq@example.com")
      assert.include(letters[0]?.text, "Subject: Too hot")
      assert.include(letters[0]?.text, `Message-ID: <${notification?.id}@argusiq>`)
    }).pipe(Effect.provide(sender()))
  )

  it.effect("a letter that some could not take goes again to those alone; who refuses it for good is left out", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      let isFull = true
      const { letters, port } = yield* smtpReceiver((address) =>
        address.startsWith("full") && isFull
          ? "452 mailbox full"
          : address.startsWith("nobody")
            ? "550 no such user"
            : "250 OK"
      )
      const mail = Mail.layer({ url: Redacted.make(`smtp://127.0.0.1:${port}`), from: "argusiq@example.com" })
      yield* tell(organization, letter("nobody@example.com"), letter("full@example.com"), letter("good@example.com"))
      yield* dispatch(organization).pipe(Effect.provide(mail))
      const [waiting] = (yield* noticesOf(organization)).notifications
      assert.deepInclude(waiting, { state: "pending", attempts: 1, delivered_to: ["good@example.com"] })
      assert.include(waiting?.error, "mailbox full")
      isFull = false
      yield* dispatch(organization).pipe(Effect.provide(mail))
      assert.deepInclude((yield* noticesOf(organization)).notifications[0], { state: "delivered", attempts: 2 })
      assert.deepStrictEqual(
        letters.flatMap(({ to }) => to),
        ["good@example.com", "full@example.com"]
      )
    }).pipe(Effect.provide(sender()))
  )

  it.effect("a letter fails where all refuse it and where nobody has an address", () =>
    Effect.gen(function* () {
      const [refused, nobody] = [yield* makeOrganization, yield* makeOrganization]
      const { port } = yield* smtpReceiver(() => "550 no")
      const mail = Mail.layer({ url: Redacted.make(`smtp://127.0.0.1:${port}`), from: "argusiq@example.com" })
      yield* tell(refused, letter("a@example.com"))
      yield* dispatch(refused).pipe(Effect.provide(mail))
      assert.deepInclude((yield* noticesOf(refused)).notifications[0], { state: "failed" })
      yield* tell(nobody, letter("technician"))
      yield* dispatch(nobody).pipe(Effect.provide(mail))
      assert.deepInclude((yield* noticesOf(nobody)).notifications[0], {
        state: "failed",
        error: "None of its recipients has an e-mail address."
      })
    }).pipe(Effect.provide(sender()))
  )

  it.effect("without a mail server a letter says that e-mail is off", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      yield* tell(organization, letter("a@example.com"))
      yield* dispatch(organization)
      assert.deepInclude((yield* noticesOf(organization)).notifications[0], {
        state: "off",
        error: "E-mail is off: SMTP_URL is not set."
      })
    }).pipe(Effect.provide(Layer.merge(Mail.off, sender())))
  )
})
