/**
 * The telemetry writer: readings into their tables, and the audit copy of everything a device sent.
 * @module
 */
export { rawWriter } from "./rawWriter.ts"
export { writer } from "./writer.ts"
