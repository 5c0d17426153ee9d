import { isPublicAddress } from "@argusiq/layers/notifications/publicAddress.ts"
import { HostResolver, type Limits, WebhookSender } from "@argusiq/layers/notifications/WebhookSender.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { httpReceiver } from "./receivers.ts"

const closed: Limits = { allowPrivate: false, timeoutMillis: 2_000, maxAnswerBytes: 1_000 }
const open: Limits = { ...closed, allowPrivate: true }

/** Sends with a resolver that answers from the table, look after look; tells what was asked. */
const sendTo = Effect.fnUntraced(function* (
  url: string,
  limits: Limits,
  answers: ReadonlyArray<ReadonlyArray<string>> = []
) {
  const asked: Array<string> = []
  const resolver = async (host: string) => {
    asked.push(host)
    const answer = answers[asked.length - 1]
    if (answer === undefined) throw new Error(`asked in vain for ${host}`)
    return answer
  }
  const outcome = yield* Effect.flatMap(WebhookSender, (sender) =>
    Effect.result(sender.send({ url, headers: { "idempotency-key": "1" }, body: '{"a":1}' }))
  ).pipe(Effect.provide(WebhookSender.layer(limits)), Effect.provideService(HostResolver, resolver))
  return { asked, outcome }
})

describe("an address", () => {
  const addresses: Readonly<Record<string, boolean>> = {
    "8.8.8.8": true,
    "172.15.255.255": true,
    "172.32.0.0": true,
    "100.63.255.255": true,
    "2606:4700::1111": true,
    "0.0.0.0": false,
    "10.1.2.3": false,
    "100.64.0.1": false,
    "127.0.0.1": false,
    "127.255.255.254": false,
    "169.254.169.254": false,
    "172.16.0.1": false,
    "172.31.255.255": false,
    "192.168.1.1": false,
    "198.18.0.1": false,
    "224.0.0.1": false,
    "255.255.255.255": false,
    "::": false,
    "::1": false,
    "::ffff:8.8.8.8": false,
    "::ffff:127.0.0.1": false,
    "64:ff9b::7f00:1": false,
    "fc00::1": false,
    "fd12:3456::1": false,
    "fe80::1": false,
    "fe80::1%eth0": false,
    "ff02::1": false,
    "2001::1": false,
    "2001:db8::1": false,
    "2002:7f00:1::": false,
    localhost: false,
    "": false
  }
  for (const [address, expected] of Object.entries(addresses)) {
    it(`${address === "" ? "that is empty" : address} is ${expected ? "" : "not "}public`, () => {
      assert.strictEqual(isPublicAddress(address), expected)
    })
  }
})

describe("a webhook", () => {
  const literals = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0.0.0.0"
  ]
  for (const host of literals) {
    it.live(`to ${host} is refused before anything is sent`, () =>
      Effect.gen(function* () {
        const { connections, port } = yield* httpReceiver()
        const { asked, outcome } = yield* sendTo(`http://${host}:${port}/`, closed)
        assert.deepInclude(outcome, { _tag: "Failure" })
        if (outcome._tag === "Failure") assert.strictEqual(outcome.failure._tag, "WebhookRefused")
        assert.deepStrictEqual(asked, [])
        assert.strictEqual(connections(), 0)
      }).pipe(Effect.scoped)
    )
  }

  const names: ReadonlyArray<[string, ReadonlyArray<string>]> = [
    ["loopback", ["127.0.0.1"]],
    ["private", ["10.0.0.7"]],
    ["link-local", ["169.254.169.254"]],
    ["IPv6 loopback", ["::1"]],
    ["public and a private", ["8.8.8.8", "192.168.0.1"]]
  ]
  for (const [title, addresses] of names) {
    it.live(`to a name with a ${title} address is refused before anything is sent`, () =>
      Effect.gen(function* () {
        const { connections, port } = yield* httpReceiver()
        const { asked, outcome } = yield* sendTo(`http://hooks.example.com:${port}/`, closed, [addresses])
        if (outcome._tag !== "Failure") return assert.fail("it was sent")
        assert.strictEqual(outcome.failure._tag, "WebhookRefused")
        assert.include(outcome.failure.message, addresses.at(-1)!)
        assert.deepStrictEqual(asked, ["hooks.example.com"])
        assert.strictEqual(connections(), 0)
      }).pipe(Effect.scoped)
    )
  }

  for (const url of ["ftp://example.com/", "file:///etc/passwd", "nonsense", "http://user:secret@example.com/"]) {
    it.live(`to ${url} is refused without a look at the host`, () =>
      Effect.gen(function* () {
        const { asked, outcome } = yield* sendTo(url, open)
        if (outcome._tag !== "Failure") return assert.fail("it was sent")
        assert.strictEqual(outcome.failure._tag, "WebhookRefused")
        assert.deepStrictEqual(asked, [])
      })
    )
  }

  it.live("resolves its host once and goes to that very address under its name", () =>
    Effect.gen(function* () {
      const { port, received } = yield* httpReceiver()
      const url = `http://hooks.example.com:${port}/path?a=1`
      const { asked, outcome } = yield* sendTo(url, open, [["127.0.0.1"], ["127.0.0.2"]])
      assert.deepInclude(outcome, { _tag: "Success", success: 204 })
      assert.deepStrictEqual(asked, ["hooks.example.com"])
      assert.strictEqual(received[0]?.path, "/path?a=1")
      assert.deepInclude(received[0]?.headers, {
        host: `hooks.example.com:${port}`,
        "idempotency-key": "1",
        "content-type": "application/json"
      })
      assert.strictEqual(received[0]?.body, '{"a":1}')
    }).pipe(Effect.scoped)
  )

  it.live("follows no redirect", () =>
    Effect.gen(function* () {
      const { port, received } = yield* httpReceiver((_, response) =>
        response.writeHead(307, { location: "/elsewhere" }).end()
      )
      const { outcome } = yield* sendTo(`http://127.0.0.1:${port}/`, open)
      if (outcome._tag !== "Failure") return assert.fail("it was taken")
      assert.deepInclude(outcome.failure, { _tag: "WebhookFailed", status: 307 })
      assert.deepStrictEqual(
        received.map(({ path }) => path),
        ["/"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("does not read an answer without an end", () =>
    Effect.gen(function* () {
      const { port } = yield* httpReceiver((_, response) => {
        response.writeHead(500)
        const write = () => {
          while (!response.destroyed && response.write("x".repeat(10_000)));
        }
        response.on("drain", write)
        write()
      })
      const { outcome } = yield* sendTo(`http://127.0.0.1:${port}/`, open)
      if (outcome._tag !== "Failure") return assert.fail("it was taken")
      assert.deepInclude(outcome.failure, { _tag: "WebhookFailed", status: 500 })
      assert.isBelow(outcome.failure.message.length, 700)
    }).pipe(Effect.scoped)
  )

  const slow: ReadonlyArray<[string, Parameters<typeof httpReceiver>[0]]> = [
    ["never answers", () => {}],
    [
      "answers byte by byte",
      (_, response) => {
        response.writeHead(200)
        const timer = setInterval(() => response.write("x"), 20)
        response.on("close", () => clearInterval(timer))
      }
    ]
  ]
  for (const [title, answer] of slow) {
    it.live(`gives up on a receiver that ${title}`, () =>
      Effect.gen(function* () {
        const { port } = yield* httpReceiver(answer)
        const began = Date.now()
        const { outcome } = yield* sendTo(`http://127.0.0.1:${port}/`, { ...open, timeoutMillis: 300 })
        if (outcome._tag !== "Failure") return assert.fail("it was taken")
        assert.include(outcome.failure.message, "No answer within 300 ms")
        assert.isBelow(Date.now() - began, 5_000)
      }).pipe(Effect.scoped)
    )
  }

  it.live("that nobody listens to fails and may be tried again", () =>
    Effect.gen(function* () {
      const { close, port } = yield* httpReceiver()
      close()
      const { outcome } = yield* sendTo(`http://127.0.0.1:${port}/`, open)
      if (outcome._tag !== "Failure") return assert.fail("it was taken")
      assert.deepInclude(outcome.failure, { _tag: "WebhookFailed" })
      const unknown = yield* sendTo("http://unknown.example.com/", open)
      if (unknown.outcome._tag !== "Failure") return assert.fail("it was taken")
      assert.deepInclude(unknown.outcome.failure, { _tag: "WebhookFailed" })
    }).pipe(Effect.scoped)
  )
})
