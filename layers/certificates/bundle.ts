/**
 * What a device needs to connect with its certificate, as one zip file.
 * @module
 */
import { strToU8, zipSync } from "fflate"

export interface Bundle {
  readonly deviceId: string
  readonly tenantId: string
  readonly certificate: string
  readonly privateKey: string
  readonly caCertificate: string
  readonly validUntil: string
  readonly host: string
  readonly port: number
}

/** `config.json` of the zip. */
export const connectionOf = ({ deviceId, host, port, tenantId, validUntil }: Bundle) => ({
  broker: { host, port, url: `mqtts://${host.includes(":") ? `[${host}]` : host}:${port}`, tlsVersion: "1.2 or later" },
  clientId: deviceId,
  deviceId,
  organizationId: tenantId,
  topics: {
    publish: [`devices/${deviceId}/telemetry`, `v1/telemetry/${tenantId}/${deviceId}`],
    subscribe: [`devices/${deviceId}/commands/#`, `v1/commands/${tenantId}/${deviceId}/#`]
  },
  files: { certificate: "device.crt", privateKey: "device.key", caCertificate: "ca.crt" },
  validUntil
})

export const zipOf = (bundle: Bundle): Uint8Array =>
  zipSync({
    "device.crt": strToU8(bundle.certificate),
    "device.key": [strToU8(bundle.privateKey), { os: 3, attrs: 0o100600 << 16 }],
    "ca.crt": strToU8(bundle.caCertificate),
    "config.json": strToU8(`${JSON.stringify(connectionOf(bundle), null, 2)}\n`)
  })
