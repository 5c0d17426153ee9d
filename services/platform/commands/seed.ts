import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { loadDemo } from "../demo.ts"
import { Refusal } from "../errors.ts"
import * as ownerDatabase from "../ownerDatabase.ts"
import { untilStopped } from "../process.ts"

/** `argusiq seed`: loads the demo organisation, into a running platform too. */
export const seed = Command.make("seed", {}, () =>
  untilStopped(
    Effect.gen(function* () {
      yield* Migrate.up()
      const { devices, types } = yield* loadDemo
      yield* Console.log(
        `The demo organisation is loaded: ${types} device types, ${devices} devices. Its first device: argusiq key TS-001-2024`
      )
    }).pipe(Effect.provide(ownerDatabase.layer))
  ).pipe(Effect.mapError((error) => (error instanceof Refusal ? error : new Refusal({ message: error.message }))))
).pipe(Command.withDescription("Load the demo organisation; safe to repeat"))
