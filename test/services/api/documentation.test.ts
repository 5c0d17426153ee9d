import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { adminPassword, Api, apiServer } from "./apiServer.ts"

const page = readFileSync(new URL("../../../docs/api.md", import.meta.url), "utf8")
const lines = Array.from(page.matchAll(/^```sh\n(.*?)^```$/gms), ([, block]) => block).join("\n")

layer(apiServer, { excludeTestServices: true })("docs/api.md", (it) => {
  it.effect("its lines work as they stand, one after another", () =>
    Effect.gen(function* () {
      const { url } = yield* Api
      const { error, output } = yield* Effect.promise(
        () =>
          new Promise<{ readonly error: Error | null; readonly output: string }>((resolve) => {
            const env = {
              ...process.env,
              URL: url,
              ARGUSIQ_ADMIN_PASSWORD: adminPassword,
              ARGUSIQ_ADMIN_EMAIL: "admin@localhost"
            }
            execFile("bash", ["-euo", "pipefail", "-c", lines], { env }, (error, stdout, stderr) =>
              resolve({ error, output: stdout + stderr })
            )
          })
      )
      assert.isNull(error, output)
      assert.include(output, '"role":"admin"')
      assert.include(output, '"protocol":"mqtt"')
      assert.include(output, "precondition-failed")
      assert.match(output, /"created":2,"existing":0,"failed":1/)
      assert.match(output, /"created":1,"existing":0,"failed":0/)
      assert.notInclude(output, "urn:argusiq:problem:i")
    })
  )
})
