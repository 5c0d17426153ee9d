/**
 * The `argusiq` command.
 * @module
 */
import "effect/schema/SchemaJITCompiler/enable"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { ConfigProvider, Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { fileURLToPath } from "node:url"
import { cert } from "./commands/cert.ts"
import { dlq } from "./commands/dlq.ts"
import { doctor } from "./commands/doctor.ts"
import { jobs } from "./commands/jobs.ts"
import { key } from "./commands/key.ts"
import { migrate } from "./commands/migrate.ts"
import { replay } from "./commands/replay.ts"
import { seed } from "./commands/seed.ts"
import { send } from "./commands/send.ts"
import { start } from "./commands/start.ts"
import { tail } from "./commands/tail.ts"
import { topics } from "./commands/topics.ts"
import * as logging from "./logging.ts"
import { runMain } from "./process.ts"
import { version } from "./version.ts"

/** The data of a checkout lies in it, wherever the command was called from. */
const defaults = { ARGUSIQ_DATA_DIR: fileURLToPath(new URL("../../data", import.meta.url)) }
const configuration = ConfigProvider.layer(
  ConfigProvider.orElse(ConfigProvider.fromEnv(), ConfigProvider.fromUnknown(defaults))
)

Command.make("argusiq").pipe(
  Command.withDescription("From a device's message to a queryable history"),
  Command.withSubcommands([start, migrate, seed, key, cert, send, tail, topics, dlq, jobs, replay, doctor]),
  Command.run({ version }),
  Effect.provide(Layer.merge(logging.layer, NodeServices.layer)),
  Effect.provide(configuration),
  runMain
)
