import { activityCreator } from "@argusiq/activity-creator/ActivityCreator.ts"
import { isSigned } from "@argusiq/domain/notification/signature.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { relayActivities } from "@argusiq/jobs/ActivityRelay.ts"
import * as Deliveries from "@argusiq/jobs/Deliveries.ts"
import { relayEvents } from "@argusiq/jobs/Relay.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { secretOf } from "@argusiq/layers/notifications/webhookSecrets.ts"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { recordsOf, start, until } from "../../layers/bus/ConsumerWorld.ts"
import { httpReceiver, smtpReceiver } from "../../layers/notifications/receivers.ts"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"
import { activitiesOf, addMember, addTemplate, makeOrganization, noticesOf } from "./world.ts"

layer(Layer.merge(testBus, testDatabase), { excludeTestServices: true })("an alarm", (it) => {
  it.effect(
    "becomes an activity, a letter and a signed webhook, of which the bus and the receivers are told once",
    () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const organization = yield* makeOrganization
        const templateId = yield* addTemplate(organization, { assignedRole: "technician", name: "Look at the pump" })
        yield* addMember(organization, "technician", `one.${organization.tenantId}@example.com`)
        const [http, smtp] = [yield* httpReceiver(), yield* smtpReceiver()]
        const [entityId, alarmId] = [randomUUID(), randomUUID()]
        const actions = [
          { type: "create_activity", templateId },
          { type: "webhook", url: `http://127.0.0.1:${http.port}/hook` },
          { type: "notify", channel: "email", to: "technician" }
        ]
        yield* sql`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, alarm_id,
          payload) values (${randomUUID()}, ${organization.tenantId}, 'THRESHOLD_BREACH', 'asset', ${entityId}, 'high', now(),
          ${alarmId}, ${sql.json({ message: "Pump 7 is hot", actions })})`

        const settings = ConfigProvider.fromUnknown({
          SMTP_URL: `smtp://127.0.0.1:${smtp.port}`,
          SMTP_FROM: "argusiq@example.com",
          WEBHOOK_ALLOW_PRIVATE_ADDRESSES: "true"
        })
        yield* Effect.flatMap(activityCreator, start)
        // As two processes: one is the owner of the lock, the other stands by.
        for (let process = 0; process < 2; process++) {
          yield* Effect.forkScoped(
            Deliveries.run("50 millis").pipe(Effect.provideService(ConfigProvider.ConfigProvider, settings))
          )
        }
        yield* Effect.forkScoped(Effect.forever(Effect.andThen(relayEvents, Effect.sleep(20))))
        yield* Effect.forkScoped(Effect.forever(Effect.andThen(relayActivities, Effect.sleep(20))))
        yield* until(
          "everything has arrived",
          Effect.gen(function* () {
            const { deliveries, notifications } = yield* noticesOf(organization)
            const all = [...deliveries, ...notifications]
            return all.length === 3 && all.every(({ state }) => state === "delivered")
          })
        )
        const [activity] = yield* activitiesOf(organization)
        assert.deepInclude(activity, { name: "Look at the pump", priority: 2, target_id: entityId })
        yield* until(
          "the activity is relayed",
          Effect.map(recordsOf(Topics.activities, entityId), ({ length }) => length > 0)
        )
        yield* Effect.sleep(1_000)
        const [told, ...others] = yield* recordsOf(Topics.activities, entityId)
        assert.lengthOf(others, 0)
        assert.strictEqual(JSON.parse(Buffer.from(told!.value).toString()).activityId, activity?.id)
        assert.lengthOf(http.received, 1)
        const [{ body, headers }] = http.received as [(typeof http.received)[number]]
        assert.deepInclude(JSON.parse(body).event, { alarmId, message: "Pump 7 is hot", severity: "high" })
        assert.deepInclude(JSON.parse(body).activities[0], { id: activity?.id, assignedRole: "technician" })
        const { secret } = yield* secretOf(yield* PipelineSql, organization.tenantId)
        assert.isTrue(isSigned(secret, String(headers["argusiq-signature"]), body, Date.now() / 1_000))
        assert.deepStrictEqual(
          smtp.letters.map(({ to }) => to),
          [[`one.${organization.tenantId}@example.com`]]
        )
        assert.include(smtp.letters[0]?.text, "Activity: Look at the pump (priority 2)")
      })
  )
})
