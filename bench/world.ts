/**
 * What a measurement runs on: the platform, the components that it uses, devices that may send, and the load's way to it.
 * @module
 */
import { randomUUID } from "node:crypto"
import { makeApiKey } from "@argusiq/layers/registry/ApiKeys.ts"
import { KafkaCluster } from "../test/support/components/kafka.ts"
import { Mosquitto, type MosquittoDevice } from "../test/support/components/mosquitto.ts"
import { RedisServer } from "../test/support/components/redis.ts"
import { PlatformProcess } from "../test/support/PlatformProcess.ts"
import { connectSuperuser, type Superuser } from "../test/support/superuser.ts"
import { type Credentials, type Target } from "./lanes.ts"
import { type Options } from "./options.ts"

/** On a machine with other work, too. */
const START_SECONDS = 180

export const WEBHOOK_SECRET = "bench-webhook-secret"

export interface World {
  readonly platform: PlatformProcess
  readonly broker: Mosquitto | undefined
  readonly kafka: KafkaCluster | undefined
  readonly redis: RedisServer | undefined
  readonly sql: Superuser
  readonly devices: ReadonlyArray<Credentials>
  readonly target: Target
  readonly dispose: () => Promise<void>
}

/** Many at once, as no API makes them. */
const makeDevices = async (sql: Superuser, typeId: string, count: number): Promise<ReadonlyArray<Credentials>> => {
  const made = Array.from({ length: count }, () => ({ id: randomUUID(), ...keyOf() }))
  for (let from = 0; from < made.length; from += 10_000) {
    const rows = JSON.stringify(made.slice(from, from + 10_000))
    await sql.query(
      `with made as (
         select * from json_to_recordset('${rows}') as t (id uuid, "keyId" uuid, prefix text, hash text)
       ), type as (select id, tenant_id from device_types where id = '${typeId}'), device as (
         insert into devices (id, tenant_id, name, device_type_id)
         select made.id, type.tenant_id, 'Bench ' || made.id, type.id from made, type returning id)
       insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash)
       select made."keyId", type.tenant_id, made.id, made.prefix, made.hash from made join device using (id), type`
    )
  }
  await sql.query("analyze devices, device_api_keys")
  return made.map(({ id, key }) => ({ id, key }))
}
const keyOf = () => {
  const { hash, id, key, prefix } = makeApiKey()
  return { keyId: id, key, prefix, hash }
}

/** Users of a broker that may publish for every device. */
const sharedUsers = (count: number): ReadonlyArray<MosquittoDevice> =>
  Array.from({ length: count }, (_, index) => ({
    id: `load-${index}`,
    key: `key-${index}`,
    topics: ["devices/+/telemetry"]
  }))

/** How the load reaches a platform or a broker; the broker admits who sends. */
const openTarget = async (
  options: Options,
  platform: PlatformProcess,
  broker: Mosquitto | undefined,
  devices: ReadonlyArray<Credentials>
): Promise<Target> => {
  const { connections } = options
  if (options.ingest === "webhook") {
    return { _tag: "Webhook", url: platform.url, secret: WEBHOOK_SECRET, requests: connections }
  }
  if (broker === undefined) return { _tag: "Connections", port: platform.mqttPort }
  if (connections === devices.length) {
    await broker.admit(devices)
    return { _tag: "Connections", port: broker.port }
  }
  const users = sharedUsers(connections)
  await broker.admit(users)
  return { _tag: "SharedConnections", port: broker.port, users }
}

/** The same way to a broker that nobody reads. */
export const targetOfLoneBroker = (world: World, options: Options, broker: Mosquitto) =>
  openTarget(options, world.platform, broker, world.devices)

/** Of the devices that send. */
const createType = async (platform: PlatformProcess, { children, metrics }: Options): Promise<string> => {
  if (children === 0) return platform.createDeviceType("Bench", { processingMode: "endpoint" })
  const rules = Array.from({ length: metrics }, (_, metric) => {
    const key = `metric_${metric}`
    return [key, { path: `$.${key}`, type: "numeric" }]
  })
  const childDeviceTypeId = await platform.createDeviceType("Bench child", {
    processingMode: "endpoint",
    extractionRules: Object.fromEntries(rules)
  })
  return platform.createDeviceType("Bench", {
    processingMode: "gateway",
    demuxStrategy: {
      childDevicesPath: "$.devices",
      childDeviceIdPath: "$.id",
      autoCreateChildren: true,
      childDeviceTypeId
    }
  })
}

export const openWorld = async (options: Options): Promise<World> => {
  const endings: Array<() => Promise<unknown>> = []
  const dispose = async () => {
    for (const end of endings.toReversed()) await end()
  }
  try {
    const kafka = options.bus === "kafka" ? await KafkaCluster.start() : undefined
    if (kafka !== undefined) endings.push(() => kafka.remove())
    const redis = options.redis ? await RedisServer.started() : undefined
    if (redis !== undefined) endings.push(() => redis.dispose())
    const broker = options.mqtt === "external" ? await Mosquitto.prepare({ devices: [] }) : undefined
    if (broker !== undefined) endings.push(() => broker.dispose())
    await broker?.start()
    const profiling = `--cpu-prof --cpu-prof-dir=${options.profile}`
    const platform = await PlatformProcess.prepare({
      env: {
        WEBHOOK_SECRET,
        ...(options.profile !== undefined && { NODE_OPTIONS: profiling }),
        ...(broker !== undefined && { MQTT_URL: broker.url }),
        ...(kafka !== undefined && { KAFKA_BROKERS: kafka.addresses }),
        ...(redis !== undefined && { REDIS_URL: redis.url })
      }
    })
    endings.push(() => platform.dispose({ keepFiles: options.keep }))
    await platform.start(START_SECONDS)
    const setting = await connectSuperuser(platform.dataDirectory)
    await setting.query("alter system set track_commit_timestamp = on")
    await setting.close()
    await platform.stop()
    await platform.start(START_SECONDS)
    const sql = await connectSuperuser(platform.dataDirectory)
    endings.push(() => sql.close())
    const type = await createType(platform, options)
    const devices = await makeDevices(sql, type, options.devices)
    const target = await openTarget(options, platform, broker, devices)
    return { platform, broker, kafka, redis, sql, devices, target, dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}
