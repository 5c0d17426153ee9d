import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { adminEmail, adminPassword, Api, apiServer, withoutRequestId } from "./apiServer.ts"

const attempt = (email: string, password: string) =>
  Effect.gen(function* () {
    const since = performance.now()
    const answer = yield* (yield* Api).call("POST", "/api/v1/auth/login", { body: { email, password } })
    return { answer, millis: performance.now() - since }
  })
const medianOf = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
/** Of the two answers only the seconds to wait may differ. */
const comparable = ({ answer }: Effect.Success<ReturnType<typeof attempt>>) =>
  `${answer.status} ${JSON.stringify(withoutRequestId(answer.body)).replaceAll(/\d+ seconds/g, "n seconds")}`

layer(apiServer, { excludeTestServices: true })("guessing passwords", (it) => {
  it.effect(
    "a thousand times tells nothing: a user that exists and one that does not get the same answers, ten of them",
    () =>
      Effect.gen(function* () {
        const [known, unknown] = [[], []] as [Array<number>, Array<number>]
        const statuses = new Map<number, number>()
        for (let round = 0; round < 500; round++) {
          const existing = yield* attempt(adminEmail, `guess number ${round}`)
          const missing = yield* attempt("nobody@example.com", `guess number ${round}`)
          assert.strictEqual(comparable(existing), comparable(missing), `round ${round}`)
          const { status } = existing.answer
          statuses.set(status, (statuses.get(status) ?? 0) + 1)
          if (status === 401) {
            known.push(existing.millis)
            unknown.push(missing.millis)
          } else {
            for (const { answer } of [existing, missing]) assert.isAbove(Number(answer.headers.get("retry-after")), 0)
          }
        }
        assert.deepStrictEqual(
          [...statuses],
          [
            [401, 10],
            [429, 490]
          ]
        )
        // Each derives a key, which takes longer than everything else together.
        const [a, b] = [medianOf(known), medianOf(unknown)]
        assert.isAbove(Math.min(a, b) / Math.max(a, b), 0.5, `${a} ms, ${b} ms`)
        const right = yield* attempt(adminEmail, adminPassword)
        assert.strictEqual(right.answer.status, 429, "the right password is no way to learn that it is right")
      }),
    60_000
  )
})
