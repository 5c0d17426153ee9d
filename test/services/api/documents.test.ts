import { assert, layer } from "@effect/vitest"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { addOrganization, Api, apiServer, type Call, DataDirectory } from "./apiServer.ts"

const png = Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), Buffer.alloc(2_000_000, 7)])
const pdf = Buffer.from("%PDF-1.7\nmanual")

layer(apiServer, { excludeTestServices: true })("documents", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) =>
      api.call(method, `/api/v1${path}`, { token, ...options })
    const upload = (path: string, name: string, content: Buffer, contentType = "application/octet-stream") =>
      Effect.promise(async () => {
        const response = await fetch(`${api.url}/api/v1${path}?name=${encodeURIComponent(name)}`, {
          method: "POST",
          headers: { authorization: `Bearer ${token}`, "content-type": contentType },
          body: new Uint8Array(content)
        })
        const text = await response.text()
        return { status: response.status, text, body: JSON.parse(text) }
      })
    const download = (id: string) =>
      Effect.promise(async () => {
        const response = await fetch(`${api.url}/api/v1/documents/${id}/content`, {
          headers: { authorization: `Bearer ${token}` }
        })
        return { headers: response.headers, content: Buffer.from(await response.arrayBuffer()) }
      })
    const { body: type } = yield* call("POST", "/asset-types", { body: { name: `Type ${Math.random()}` } })
    const { body: asset } = yield* call("POST", "/assets", { body: { name: "A", assetTypeId: type.id } })
    return { api, token, call, upload, download, asset }
  })

  it.effect("come back byte by byte, to be saved and never to be shown", () =>
    Effect.gen(function* () {
      const { asset, call, download, upload } = yield* session
      const added = yield* upload(`/assets/${asset.id}/documents`, 'Größe "A".png', png, "image/png")
      assert.strictEqual(added.status, 201, added.text)
      assert.deepInclude(added.body, {
        mediaType: "image/png",
        size: png.length,
        ownerType: "asset",
        ownerId: asset.id
      })
      const { content, headers } = yield* download(added.body.id)
      assert.isTrue(content.equals(png))
      assert.strictEqual(headers.get("content-type"), "image/png")
      assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
      assert.strictEqual(
        headers.get("content-disposition"),
        `attachment; filename="Gr__e _A_.png"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%22A%22.png`
      )
      const { body: list } = yield* call("GET", `/assets/${asset.id}/documents`)
      assert.deepStrictEqual(list.items, [added.body])
    })
  )

  it.effect("what is no file of an allowed kind is refused, whatever it is called", () =>
    Effect.gen(function* () {
      const { asset, upload } = yield* session
      const path = `/assets/${asset.id}/documents`
      const refused: ReadonlyArray<readonly [string, Buffer, string]> = [
        ["page.html", Buffer.from("<script>"), "query.name"],
        ["image.svg", Buffer.from("<svg/>"), "query.name"],
        ["pdf", pdf, "query.name"],
        ["manual.pdf", Buffer.from("<html>"), "body"],
        ["plan.png", pdf, "body"],
        ["notes.txt", Buffer.from([0xff, 0x00]), "body"]
      ]
      for (const [name, content, at] of refused) {
        const answer = yield* upload(path, name, content)
        assert.strictEqual(answer.status, 422, `${name}: ${answer.text}`)
        assert.deepStrictEqual(
          answer.body.errors.map((fault: { path: string }) => fault.path),
          [at]
        )
      }
      const large = yield* upload(path, "large.pdf", Buffer.concat([pdf, Buffer.alloc(26_214_400)]))
      assert.strictEqual(large.status, 413, large.text)
    })
  )

  it.effect("their files go with them, and with what they belong to", () =>
    Effect.gen(function* () {
      const { api, asset, call, upload } = yield* session
      const directory = join(yield* DataDirectory, "documents", api.firstDevice.organizationId)
      const one = yield* upload(`/assets/${asset.id}/documents`, "one.pdf", pdf)
      const two = yield* upload(`/assets/${asset.id}/documents`, "two.pdf", pdf)
      assert.isTrue(existsSync(join(directory, one.body.id)))
      assert.strictEqual((yield* call("DELETE", `/documents/${one.body.id}`)).status, 204)
      assert.isFalse(existsSync(join(directory, one.body.id)))
      assert.strictEqual((yield* call("DELETE", `/assets/${asset.id}`)).status, 204)
      assert.isFalse(existsSync(join(directory, two.body.id)))
      assert.strictEqual((yield* call("GET", `/documents/${two.body.id}`)).status, 404)
      assert.strictEqual((yield* upload(`/assets/${asset.id}/documents`, "late.pdf", pdf)).status, 404)
      assert.deepStrictEqual(
        readdirSync(directory).filter((name) => name.endsWith(".part")),
        []
      )
    })
  )

  it.effect("an image of a space is its floor plan; a document of something else is none", () =>
    Effect.gen(function* () {
      const { asset, call, upload } = yield* session
      const { body: space } = yield* call("POST", "/spaces", { body: { name: "Hall", kind: "building" } })
      const plan = yield* upload(`/spaces/${space.id}/documents`, "plan.png", png)
      const manual = yield* upload(`/spaces/${space.id}/documents`, "manual.pdf", pdf)
      const other = yield* upload(`/assets/${asset.id}/documents`, "other.png", png)
      for (const { body } of [manual, other]) {
        const refused = yield* call("PATCH", `/spaces/${space.id}`, { body: { floorPlanDocumentId: body.id } })
        assert.strictEqual(refused.status, 422, refused.text)
      }
      const set = yield* call("PATCH", `/spaces/${space.id}`, { body: { floorPlanDocumentId: plan.body.id } })
      assert.strictEqual(set.body.floorPlanDocumentId, plan.body.id, set.text)
      yield* call("DELETE", `/documents/${plan.body.id}`)
      assert.isNull((yield* call("GET", `/spaces/${space.id}`)).body.floorPlanDocumentId)
    })
  )

  it.effect("another organization's documents are as good as none", () =>
    Effect.gen(function* () {
      const { api, asset, upload } = yield* session
      const { body } = yield* upload(`/assets/${asset.id}/documents`, "one.pdf", pdf)
      const { email } = yield* addOrganization("document-stranger")
      const token = yield* api.login(email)
      for (const path of [`/documents/${body.id}`, `/documents/${body.id}/content`, `/assets/${asset.id}/documents`]) {
        assert.strictEqual((yield* api.call("GET", `/api/v1${path}`, { token })).status, 404, path)
      }
      assert.strictEqual((yield* api.call("DELETE", `/api/v1/documents/${body.id}`, { token })).status, 404)
    })
  )
})
