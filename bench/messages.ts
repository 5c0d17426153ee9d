/** Epoch microseconds. */
export const nowMicros = () => Math.round((performance.timeOrigin + performance.now()) * 1000)

/** Writes messages of `metrics` numbers. Their timestamp is `at`, in epoch microseconds, so that a stored row tells its own age. */
export const messageWriter = (metrics: number) => {
  const prefixes = Array.from({ length: metrics }, (_, metric) => `"metric_${metric}":${20 + metric}.`)
  return (sequence: number, at: number): Uint8Array => {
    let text = `{"timestamp":${at},"metrics":{`
    for (let metric = 0; metric < prefixes.length; metric++) {
      text += `${metric === 0 ? "" : ","}${prefixes[metric]}${(sequence * 7 + metric * 13) % 1000}`
    }
    return Buffer.from(`${text}}}`)
  }
}
