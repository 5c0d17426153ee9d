/**
 * W3C trace context: `00-<trace id>-<span id>-<flags>`, how a message is known to the tracing system across services.
 * @module
 */

export interface TraceParent {
  readonly traceId: string
  readonly spanId: string
  /** Whether its spans are recorded. */
  readonly sampled: boolean
}

const form = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** Undefined for what is none: a header from outside is not trusted to be one. */
export const parseTraceparent = (text: string | undefined): TraceParent | undefined => {
  if (text === undefined || text.length !== 55) return undefined
  const parts = form.exec(text)
  if (parts === null) return undefined
  return { traceId: parts[1]!, spanId: parts[2]!, sampled: (Number.parseInt(parts[3]!, 16) & 1) === 1 }
}

export const formatTraceparent = ({ sampled, spanId, traceId }: TraceParent): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`

export const traceIdOf = (traceparent: string | undefined): string | undefined => parseTraceparent(traceparent)?.traceId

/** Whether it asks for spans to be recorded, told without taking it apart: a service asks this of many records. */
export const isSampled = (traceparent: string | undefined): traceparent is string =>
  traceparent !== undefined && traceparent.length === 55 && (Number.parseInt(traceparent[54]!, 16) & 1) === 1
