/**
 * What devices with certificates cost: TLS handshakes a second, and many connected devices that publish now and then. A fresh
 * platform in a process of its own, driven from this one; 100 % of CPU is one processor. Certificates are signed here, with the
 * platform's authority, and put into its database in one statement.
 *
 *   node bench/mtls.ts [--devices 2000] [--rate 1] [--seconds 30] [--handshakes 3000] [--profile DIR]
 * @module
 */
import { openAuthority } from "@argusiq/layers/certificates/CertificateAuthority.ts"
import { type Issued, issueForDevice, makeKeys } from "@argusiq/layers/certificates/issue.ts"
import { ConfigProvider, Effect } from "effect"
import { generate } from "mqtt-packet"
import { connect, createSecureContext, type SecureContext, type TLSSocket } from "node:tls"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { eventually, PlatformProcess } from "../test/support/PlatformProcess.ts"
import { cpuMicros } from "../test/support/processes.ts"
import { connectSuperuser } from "../test/support/superuser.ts"
import { percentiles } from "./percentiles.ts"

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "2000" },
    rate: { type: "string", default: "1" },
    seconds: { type: "string", default: "30" },
    handshakes: { type: "string", default: "3000" },
    "at-once": { type: "string", default: "50" },
    profile: { type: "string" }
  }
})
const [devices, rate, seconds, handshakes, atOnce] = [
  Number(values.devices),
  Number(values.rate),
  Number(values.seconds),
  Number(values.handshakes),
  Number(values["at-once"])
] as const

const ACCEPTED = "20020000"
const PUBACK_BYTES = 4
const TICK_MILLIS = 20

interface Client {
  readonly id: string
  readonly context: SecureContext
}

const makeClients = async (platform: PlatformProcess): Promise<ReadonlyArray<Client>> => {
  const sql = await connectSuperuser(platform.dataDirectory)
  const typeId = await platform.createDeviceType("Certified", { processingMode: "endpoint" })
  const [type] = await sql.query<{ tenant_id: string }>(`select tenant_id from device_types where id = '${typeId}'`)
  const tenantId = type!.tenant_id
  const settings = ConfigProvider.fromUnknown({ ARGUSIQ_SECRETS_DIR: platform.dataDirectory })
  const authority = await Effect.runPromise(Effect.provide(openAuthority, ConfigProvider.layer(settings)))
  const rows: Array<Issued & { readonly deviceId: string }> = []
  const clients: Array<Client> = []
  for (let index = 0; index < devices; index++) {
    const deviceId = `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`
    const { privateKey, publicKey } = await makeKeys()
    const issued = await issueForDevice(authority, { deviceId, tenantId, publicKey, days: 1, crlUrl: undefined })
    rows.push({ ...issued, deviceId })
    clients.push({
      id: deviceId,
      context: createSecureContext({ key: privateKey, cert: issued.pem, ca: authority.chain })
    })
  }
  await sql.query(`insert into devices (id, tenant_id, name, device_type_id)
    select format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid, '${tenantId}', 'Certified ' || n, '${typeId}'
    from generate_series(0, ${devices - 1}) n`)
  const given = rows.map((row) => JSON.stringify(row).replaceAll("'", "''"))
  await sql.query(`insert into device_certificates (id, tenant_id, device_id, serial_number, fingerprint, public_key_digest,
      certificate, valid_from, valid_until, accepted_until)
    select gen_random_uuid(), '${tenantId}', (one ->> 'deviceId')::uuid, one ->> 'serialNumber', one ->> 'fingerprint',
      one ->> 'publicKeyDigest', one ->> 'pem', (one ->> 'validFrom')::timestamptz, (one ->> 'validUntil')::timestamptz,
      (one ->> 'validUntil')::timestamptz
    from jsonb_array_elements('[${given.join(",")}]'::jsonb) one`)
  await sql.close()
  return clients
}

interface Entered {
  readonly id: string
  readonly socket: TLSSocket
}

/** Connects, logs in, and resolves once CONNACK says yes. */
const enter = ({ context, id }: Client, port: number) =>
  new Promise<Entered>((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, servername: "localhost", secureContext: context })
    socket.once("error", reject)
    socket.once("close", () => reject(new Error("closed by the platform")))
    socket.once("secureConnect", () =>
      socket.write(
        generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clientId: id, keepalive: 120, clean: true })
      )
    )
    socket.once("data", (bytes: Buffer) => {
      if (bytes.toString("hex") === ACCEPTED) return resolve({ id, socket })
      reject(new Error(`CONNACK ${bytes.toString("hex")}`))
    })
  })

const cpuOf = (platform: PlatformProcess) => ({
  platform: cpuMicros(platform.pid),
  postgres: cpuMicros(platform.postgresPid ?? 0, { withDescendants: true }),
  bench: process.cpuUsage().user + process.cpuUsage().system
})
const share = (before: ReturnType<typeof cpuOf>, after: ReturnType<typeof cpuOf>, tookMillis: number) =>
  (["platform", "postgres", "bench"] as const)
    .map((who) => `${who} ${((after[who] - before[who]) / tookMillis / 10).toFixed(0)} %`)
    .join(", ")

/** So many handshakes, some at once, each closed as soon as it is let in. */
const measureHandshakes = async (platform: PlatformProcess, clients: ReadonlyArray<Client>) => {
  const before = cpuOf(platform)
  const startedAt = performance.now()
  const millis: Array<number> = []
  let begun = 0
  const lane = async () => {
    while (begun < handshakes) {
      const client = clients[begun++ % clients.length]!
      const at = performance.now()
      const { socket } = await enter(client, platform.mqttsPort)
      millis.push(performance.now() - at)
      socket.destroy()
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  const took = performance.now() - startedAt
  const { p50, p95, p99 } = percentiles(millis)
  console.log(
    `handshakes    ${handshakes} in ${(took / 1000).toFixed(1)} s: ${((handshakes / took) * 1000).toFixed(0)} a second`
  )
  console.log(
    `              TCP, TLS 1.3, CONNECT, CONNACK: p50 ${p50.toFixed(0)} ms, p95 ${p95.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`
  )
  console.log(`              CPU: ${share(before, cpuOf(platform), took)}`)
}

/** All connected; each publishes with QoS 1 at the rate, spread over the second. */
const measureConnected = async (platform: PlatformProcess, clients: ReadonlyArray<Client>) => {
  const entered: Array<Entered> = []
  let lost = 0
  let acknowledged = 0
  const waiting = [...clients]
  const startedAt = performance.now()
  const lane = async () => {
    for (let client = waiting.pop(); client !== undefined; client = waiting.pop()) {
      const one = await enter(client, platform.mqttsPort)
      one.socket.removeAllListeners("close").on("close", () => lost++)
      one.socket.on("data", (bytes: Buffer) => (acknowledged += bytes.length / PUBACK_BYTES))
      entered.push(one)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  console.log(`connected     ${entered.length} devices in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  const before = cpuOf(platform)
  const from = performance.now()
  const perTick = (entered.length * rate * TICK_MILLIS) / 1000
  let sent = 0
  for (let tick = 1; tick * TICK_MILLIS <= seconds * 1000; tick++) {
    for (; sent < Math.floor(tick * perTick); sent++) {
      const { id, socket } = entered[sent % entered.length]!
      const [topic, payload] = [`devices/${id}/telemetry`, JSON.stringify({ temperature: sent % 40 })]
      const messageId = (sent % 65_535) + 1
      socket.write(generate({ cmd: "publish", topic, payload, qos: 1, messageId, dup: false, retain: false }))
    }
    await sleep(Math.max(0, from + tick * TICK_MILLIS - performance.now()))
  }
  await eventually("all acknowledged", 30, () => (acknowledged >= sent ? true : undefined)).catch(() => undefined)
  const took = performance.now() - from
  const perSecond = ((acknowledged / took) * 1000).toFixed(0)
  console.log(
    `messages      ${sent} sent, ${acknowledged} acknowledged: ${perSecond} a second; connections lost: ${lost}`
  )
  console.log(`              CPU: ${share(before, cpuOf(platform), took)}`)
  for (const { socket } of entered) socket.removeAllListeners("close").destroy()
}

const profiling = { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${values.profile}` }
const platform = await PlatformProcess.prepare(values.profile === undefined ? {} : { env: profiling })
try {
  await platform.start()
  console.log(`certificates  ${devices} are made`)
  const clients = await makeClients(platform)
  await measureHandshakes(platform, clients)
  await measureConnected(platform, clients)
} finally {
  await platform.dispose()
}
