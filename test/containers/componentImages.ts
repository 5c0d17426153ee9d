/**
 * Of which images the components of tests are started.
 * @module
 */
import { readFileSync } from "node:fs"
import { type Node, readCompose } from "../deploy/compose.ts"

export const standInImage = "argusiq-test-components:local"

export interface ComponentImages {
  readonly images: Readonly<Record<"kafka" | "redis" | "database" | "mosquitto", string>>
  readonly isStandIn: boolean
}

const named = (services: Node | undefined, service: string): string => {
  const image = (services as Readonly<Record<string, Readonly<Record<string, string>>>> | undefined)?.[service]?.[
    "image"
  ]
  if (image === undefined) throw new Error(`docker-compose.yml names no image for ${service}`)
  return image
}

/** `local`: one stand-in for all of them; else those of docker-compose.yml. */
export const componentImages = (which: string | undefined): ComponentImages => {
  if (which === "local") {
    return {
      images: { kafka: standInImage, redis: standInImage, database: standInImage, mosquitto: standInImage },
      isStandIn: true
    }
  }
  const { services } = readCompose(readFileSync(new URL("../../docker-compose.yml", import.meta.url), "utf8"))
  return {
    images: {
      kafka: named(services, "kafka"),
      redis: named(services, "redis"),
      database: named(services, "database"),
      // The tests of an MQTT broker are of one that can be killed, saves at a signal and has its users in a file.
      mosquitto: "eclipse-mosquitto:2.0.22"
    },
    isStandIn: false
  }
}
