/** Epoch microseconds. */
export const nowMicros = () => Math.round((performance.timeOrigin + performance.now()) * 1000)

/** Writes a message. Its timestamp is `at`, in epoch microseconds, so that a stored row tells its own age. */
export type MessageWriter = (sequence: number, at: number) => Uint8Array

/** Messages of `metrics` numbers; with `children` those of a gateway, with so many numbers for each child. */
export const messageWriter = (metrics: number, children = 0): MessageWriter => {
  const values = valuesWriter(metrics)
  if (children === 0) {
    return (sequence, at) => Buffer.from(`{"timestamp":${at},"metrics":{${values(sequence)}}}`)
  }
  const ids = Array.from({ length: children }, (_, child) => `{"id":"child-${child}",`)
  return (sequence, at) => {
    const entries = ids.map((id, child) => `${id}${values(sequence + child)}}`)
    return Buffer.from(`{"timestamp":${at},"devices":[${entries.join(",")}]}`)
  }
}

const valuesWriter = (metrics: number) => {
  const prefixes = Array.from({ length: metrics }, (_, metric) => `"metric_${metric}":${20 + metric}.`)
  return (sequence: number): string => {
    let text = ""
    for (let metric = 0; metric < prefixes.length; metric++) {
      text += `${metric === 0 ? "" : ","}${prefixes[metric]}${(sequence * 7 + metric * 13) % 1000}`
    }
    return text
  }
}
