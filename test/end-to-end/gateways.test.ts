import { EMBEDDED_PARTITIONS } from "@argusiq/domain/topics.ts"
import { describe } from "@effect/vitest"
import { afterAll, beforeAll } from "vitest"
import { PlatformProcess } from "../support/PlatformProcess.ts"
import { demoDevices } from "./demoDevices.ts"

describe("the devices of the demo organisation", () => {
  let platform: PlatformProcess

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare({ env: { ARGUSIQ_DEMO: "1" } })).start()
  }, 90_000)
  afterAll(() => platform.dispose())

  demoDevices(() => platform, EMBEDDED_PARTITIONS)
})
