/**
 * The command line of `npm run bench`.
 * @module
 */
import { fileURLToPath } from "node:url"
import { join } from "node:path"
import { parseArgs } from "node:util"

export const help = `npm run bench -- [options]

A fresh platform in a process of its own, driven from another process: how many messages a second it stores and how
long each takes, what that costs, whether it loses any, and what this machine can do at most. Everything that is needed
(PostgreSQL, Kafka, mosquitto, Redis) is started on free ports and removed again. Without options: 3 minutes.

What runs
  --duration D        the steady run at full speed or at --rate: 30s (default), 5m, 4h. Beyond 10 minutes what has been
                      counted is dropped every 5 minutes, so that the disk holds it
  --rate N            the steady run at N messages a second
  --spike             instead: N messages a second (--rate, default 1000) for 20 s, ten times as many, N again for 30 s
  --spike-seconds N   how long the spike lasts (10)
  --low-rate N        the quiet run before (100 messages a second)
  --low-seconds N     how long the quiet run takes, and the run at 70 % of the maximum (15; 0 leaves both out)
  --warm-up-seconds N at full speed before anything is measured (5). With 100,000 devices 30: the first message of each
                      device loads its profile and makes its rows
  --no-limits         without the limits of the machine
  --profile DIR       writes a V8 profile of the platform to DIR; only the steady run. bench/flame.ts draws it

On what
  --bus embedded|kafka     a Kafka broker of its own instead of the embedded log
  --mqtt embedded|external devices publish to a mosquitto, which the platform reads
  --redis                  with a Redis of its own
  --ingest mqtt|webhook    webhook: messages come by POST /ingest, several in a request, on --connections of them
  --devices N              1000. Over MQTT to the platform each has a connection (at most 9000); with --mqtt external
                           or --ingest webhook they share --connections
  --connections N          1000 (--ingest webhook: 8), at most one a device
  --window N               unacknowledged messages a connection at full speed: 10 (--ingest webhook: 500)
  --metrics N              values a message (10)
  --children N             the devices are gateways: N children in a message, each with --metrics values. A reading counts
                           for each child then (0: no gateways)

Output
  --json FILE         the figures as JSON (bench/results/<time>.json, which git ignores)
  --keep              keeps the platform's data directory
  --help              this text`

/** What the command line asks for cannot be done; the message says what can. */
export class UsageError extends Error {}

const units = { s: 1, m: 60, h: 3600 }

export const parseSeconds = (text: string): number => {
  const match = /^(\d+(?:\.\d+)?)(s|m|h)$/.exec(text)
  const seconds = match === null ? 0 : Number(match[1]) * units[match[2] as keyof typeof units]
  if (seconds > 0) return seconds
  throw new UsageError(`--duration ${text}: write a number and s, m or h, such as 30s, 5m or 4h`)
}

const parse = (words: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...words],
      options: {
        duration: { type: "string", default: "30s" },
        rate: { type: "string" },
        spike: { type: "boolean", default: false },
        "spike-seconds": { type: "string", default: "10" },
        "low-rate": { type: "string", default: "100" },
        "low-seconds": { type: "string", default: "15" },
        "warm-up-seconds": { type: "string", default: "5" },
        "no-limits": { type: "boolean", default: false },
        profile: { type: "string" },
        bus: { type: "string", default: "embedded" },
        mqtt: { type: "string", default: "embedded" },
        redis: { type: "boolean", default: false },
        ingest: { type: "string", default: "mqtt" },
        devices: { type: "string", default: "1000" },
        connections: { type: "string" },
        window: { type: "string" },
        metrics: { type: "string", default: "10" },
        children: { type: "string", default: "0" },
        json: { type: "string" },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

const count = (name: string, text: string, least = 1): number => {
  const value = Number(text)
  if (text !== "" && Number.isInteger(value) && value >= least) return value
  throw new UsageError(`--${name} ${text}: write a whole number of at least ${least}`)
}

const choice = <A extends string>(name: string, text: string, allowed: ReadonlyArray<A>): A => {
  const found = allowed.find((one) => one === text)
  if (found !== undefined) return found
  throw new UsageError(`--${name} ${text}: write ${allowed.join(" or ")}`)
}

const results = fileURLToPath(new URL("results", import.meta.url))
const defaultFile = () => join(results, `${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.json`)

/** Of a platform that listens for MQTT itself; its own limit is 10,000. */
const MAX_CONNECTIONS = 9_000

const MAX_SPIKE_SECONDS = 300

/** Undefined: help is asked for. Throws {@link UsageError}. */
export const readOptions = (words: ReadonlyArray<string>) => {
  const given = parse(words)
  if (given.help) return undefined
  const mqtt = choice("mqtt", given.mqtt, ["embedded", "external"])
  const ingest = choice("ingest", given.ingest, ["mqtt", "webhook"])
  const devices = count("devices", given.devices)
  const isWebhook = ingest === "webhook"
  const isOwnListener = mqtt === "embedded" && !isWebhook
  if (isWebhook && mqtt === "external") throw new UsageError("--ingest webhook and --mqtt external exclude each other")
  if (isOwnListener && devices > MAX_CONNECTIONS) {
    throw new UsageError(
      `--devices ${devices}: one process cannot hold a connection for each. Use --ingest webhook or --mqtt external`
    )
  }
  if (isOwnListener && given.connections !== undefined) {
    throw new UsageError(
      "--connections: each device has one of its own; use it with --ingest webhook or --mqtt external"
    )
  }
  const spikeSeconds = count("spike-seconds", given["spike-seconds"])
  if (spikeSeconds > MAX_SPIKE_SECONDS) throw new UsageError(`--spike-seconds: at most ${MAX_SPIKE_SECONDS}`)
  const connections = count("connections", given.connections ?? (isWebhook ? "8" : "1000"))
  const profile = given.profile
  return {
    seconds: parseSeconds(given.duration),
    rate: given.rate === undefined ? undefined : count("rate", given.rate),
    spike: given.spike,
    spikeSeconds,
    lowRate: count("low-rate", given["low-rate"]),
    lowSeconds: profile === undefined ? count("low-seconds", given["low-seconds"], 0) : 0,
    warmUpSeconds: count("warm-up-seconds", given["warm-up-seconds"]),
    limits: !given["no-limits"] && profile === undefined,
    profile,
    bus: choice("bus", given.bus, ["embedded", "kafka"]),
    mqtt,
    redis: given.redis,
    ingest,
    devices,
    connections: isOwnListener ? devices : Math.min(connections, devices),
    window: count("window", given.window ?? (isWebhook ? "500" : "10")),
    metrics: count("metrics", given.metrics),
    children: count("children", given.children, 0),
    json: given.json ?? defaultFile(),
    keep: given.keep
  }
}

export type Options = NonNullable<ReturnType<typeof readOptions>>
