import { activityForEvent } from "@argusiq/domain/activity/from-template.ts"
import { assignmentNotice, noticesFor } from "@argusiq/domain/notification/notification.ts"
import { GIVE_UP_AFTER, nextAttempt } from "@argusiq/domain/notification/retry.ts"
import { isSigned, signatureHeader } from "@argusiq/domain/notification/signature.ts"
import { assert, describe, it } from "@effect/vitest"
import { event, idOf, occurredAt, template } from "../activity/samples.ts"

const withActions = (...actions: ReadonlyArray<object>) =>
  event("e", { payload: { message: "Pump  7\nis hot", actions: actions.map((action) => ({ ...action })) } })
const notify = (channel: string, to: string) => ({ type: "notify", channel, to })

describe("an event", () => {
  it("without actions and activities tells nobody", () => {
    assert.deepStrictEqual(noticesFor(event("e"), []), { notifications: [], deliveries: [] })
  })
  it("makes one notification per channel, whoever it goes to, and one delivery per address", () => {
    const webhook = { type: "webhook", url: "https://example.com/a" }
    const told = noticesFor(
      withActions(
        notify("email", "B@example.com"),
        notify("email", "a@example.com"),
        notify("in_app", "technician"),
        webhook,
        webhook
      ),
      []
    )
    assert.deepStrictEqual(
      told.notifications.map(({ channel, recipients, title }) => ({ channel, recipients, title })),
      [
        { channel: "in_app", recipients: ["technician"], title: "Pump 7 is hot" },
        { channel: "email", recipients: ["a@example.com", "b@example.com"], title: "Pump 7 is hot" }
      ]
    )
    assert.lengthOf(told.deliveries, 1)
  })
  it("tells those whom its activities are given to, by user before role", () => {
    const user = idOf("user")
    const made = [
      activityForEvent(template("t", { assignedRole: "engineer" }), event("e")),
      activityForEvent(template("u", { assignedRole: "engineer", assignedUserId: user }), event("e"))
    ]
    const [notification] = noticesFor(event("e"), made).notifications
    assert.deepInclude(notification, { channel: "in_app", recipients: [user, "engineer"].toSorted() })
    assert.strictEqual(notification?.activityId, made[0]?.id)
  })
  it("that ends an alarm does not do again what the rule does", () => {
    const cleared = { ...withActions(notify("in_app", "technician")), eventType: "THRESHOLD_CLEARED" as const }
    assert.deepStrictEqual(noticesFor(cleared, []).notifications, [])
  })
  it("has a title that fits one line, however long its message is", () => {
    const long = event("e", { payload: { message: "😀".repeat(300), actions: [notify("in_app", "admin")] } })
    const title = noticesFor(long, []).notifications[0]!.title
    assert.isAtMost(title.length, 200)
    assert.isTrue(title.isWellFormed())
  })
})

describe("an activity without an event", () => {
  it("tells nobody where it is given to nobody", () => {
    assert.isUndefined(assignmentNotice(activityForEvent(template("t"), event("e")), "by hand"))
  })
})

describe("a failed delivery", () => {
  it("is tried again after 10 s, then after twice as long, at most an hour, and never after a day", () => {
    const pauses: Array<number> = []
    let now = occurredAt
    for (let attempts = 1; ; attempts++) {
      const next = nextAttempt(occurredAt, attempts, now)
      if (next === undefined) break
      pauses.push((next - now) / 1_000_000)
      now = next
    }
    assert.deepStrictEqual(pauses.slice(0, 10), [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600])
    assert.isAtMost(now - occurredAt, GIVE_UP_AFTER)
    assert.isAbove(now - occurredAt, GIVE_UP_AFTER - 2 * 3_600_000_000)
  })
})

describe("a signature", () => {
  const [secret, body, now] = ["whsec_one", '{"a":"ä"}', 1_763_700_000]
  const header = signatureHeader([secret], now, body)

  it("is the HMAC-SHA256 of time and body, as openssl computes it", () => {
    assert.strictEqual(
      signatureHeader(["secret"], 1, "{}"),
      "t=1,v1=1122767b193110cfec322b6f199b599edbf608ed087f2d27afb0b97d99523908"
    )
  })
  it("holds for its secret, body and time", () => assert.isTrue(isSigned(secret, header, body, now + 299)))
  it("does not hold for another body", () => assert.isFalse(isSigned(secret, header, `${body} `, now)))
  it("does not hold for another secret", () => assert.isFalse(isSigned("whsec_two", header, body, now)))
  it("does not hold later", () => assert.isFalse(isSigned(secret, header, body, now + 301)))
  it("does not hold for another time", () => {
    assert.isFalse(isSigned(secret, header.replace(`t=${now}`, `t=${now + 1}`), body, now))
  })
  it("holds for either secret while one is being changed", () => {
    const both = signatureHeader(["new", secret], now, body)
    assert.isTrue(isSigned(secret, both, body, now) && isSigned("new", both, body, now))
  })
})
