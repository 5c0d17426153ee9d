/**
 * The memory of a platform's process, watched while something is done to it.
 * @module
 */
import { rssAnonBytes } from "../support/processes.ts"

/** What a platform may hold, whatever is away: of `RssAnon`, so without mapped files such as the log's. */
export const MAX_RSS_ANON_BYTES = 700 * 1_048_576

const EVERY_MILLIS = 250

/** Looks four times a second until stopped; `stop` gives the peak in bytes. */
export const watchMemory = (pid: number) => {
  let peak = rssAnonBytes(pid)
  const timer = setInterval(() => (peak = Math.max(peak, rssAnonBytes(pid))), EVERY_MILLIS)
  timer.unref()
  return {
    stop: () => {
      clearInterval(timer)
      return peak
    }
  }
}
