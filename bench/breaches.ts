/**
 * Breaches of rules as devices bring them about: one after the other, each at another device, at a steady rate, and over with
 * the device's next reading. Each kind breaches one rule and no other.
 * @module
 */

export const BREACH_METRICS = 3

const assetRule = { entityType: "asset", cooldownSeconds: 0, severity: "medium" }
const deviceRule = { entityType: "device", cooldownSeconds: 0, severity: "medium" }

export interface BreachKind {
  /** As REST takes it. */
  readonly rule: { readonly name: string; readonly entityType: string; readonly [key: string]: unknown }
  /** What the device measures instead of 20, 21 and 22 and something. */
  readonly metrics: readonly [number, number, number]
  /** The rule asks that it lasts. */
  readonly seconds: number
}

/** The asset's metrics are temperature, pressure, vibration, power (temperature · pressure) and load (power / 500). */
export const breachKinds: ReadonlyArray<BreachKind> = [
  {
    rule: { ...assetRule, name: "threshold", metricKey: "temperature", condition: { operator: ">", value: 80 } },
    metrics: [85, 21, 22],
    seconds: 0
  },
  {
    rule: {
      ...assetRule,
      name: "two thresholds",
      metricKey: "vibration",
      condition: { operator: "above", warning: 70, critical: 90 },
      hysteresis: 5
    },
    metrics: [20, 21, 95],
    seconds: 0
  },
  {
    rule: {
      ...assetRule,
      name: "duration",
      metricKey: "pressure",
      condition: { operator: ">", value: 80, durationSeconds: 2 }
    },
    metrics: [20, 85, 22],
    seconds: 2
  },
  {
    rule: { ...assetRule, name: "expression", condition: { expression: "temperature > 60 and pressure > 60" } },
    metrics: [65, 65, 22],
    seconds: 0
  },
  {
    rule: { ...assetRule, name: "derived metric", metricKey: "power", condition: { operator: "<", value: 100 } },
    metrics: [2, 21, 22],
    seconds: 0
  },
  {
    rule: { ...deviceRule, name: "device", metricKey: "metric_2", condition: { operator: "<", value: 5 } },
    metrics: [20, 21, 2],
    seconds: 0
  },
  {
    rule: {
      ...deviceRule,
      name: "device, between",
      metricKey: "metric_2",
      condition: { operator: "between", value: [10, 12] }
    },
    metrics: [20, 21, 11],
    seconds: 0
  }
]

export const LONGEST_BREACH_SECONDS = Math.max(...breachKinds.map(({ seconds }) => seconds))

/** Rules that take every asset in and that nothing breaches. */
export const quietRule = (index: number) => ({
  ...assetRule,
  name: `quiet ${index}`,
  metricKey: "temperature",
  condition: { operator: ">", value: 1_000 + index }
})

interface Open {
  readonly kind: number
  since: number | undefined
}

export class Breaches {
  /** By kind: those whose reading that breaches the rule has been sent. */
  readonly sent: Array<number> = breachKinds.map(() => 0)
  readonly #deviceIds: ReadonlyArray<string>
  readonly #open = new Map<string, Open>()
  #begun: number

  /** @param first of the devices in their order, so that several runs choose different ones */
  constructor(deviceIds: ReadonlyArray<string>, first: number) {
    this.#deviceIds = deviceIds
    this.#begun = first
  }

  begin(): void {
    const id = this.#deviceIds[this.#begun % this.#deviceIds.length]
    const kind = this.#begun++ % breachKinds.length
    if (id !== undefined && !this.#open.has(id)) this.#open.set(id, { kind, since: undefined })
  }

  /** What the device sends at an instant, in epoch microseconds, while it breaches a rule. */
  payload(deviceId: string, at: number): Uint8Array | undefined {
    const open = this.#open.get(deviceId)
    const kind = open && breachKinds[open.kind]
    if (open === undefined || kind === undefined) return undefined
    open.since ??= at
    if (at - open.since >= kind.seconds * 1e6) {
      this.#open.delete(deviceId)
      this.sent[open.kind] = (this.sent[open.kind] ?? 0) + 1
    }
    const metrics = kind.metrics.map((value, metric) => `"metric_${metric}":${value}`)
    return Buffer.from(`{"timestamp":${at},"metrics":{${metrics.join(",")}}}`)
  }
}
