/**
 * Why the embedded log refused to open.
 * @module
 */
import { Schema } from "effect"

/** Another process has the log, or its files cannot be used. */
export class LogNotOpened extends Schema.TaggedError<LogNotOpened>()("LogNotOpened", {
  directory: Schema.String,
  message: Schema.String
}) {}
