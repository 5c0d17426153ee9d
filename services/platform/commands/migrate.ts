import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { dataDirectory, isHeld } from "../DataDirectory.ts"
import { Refusal } from "../errors.ts"
import * as ownerDatabase from "../ownerDatabase.ts"
import { untilStopped } from "../process.ts"
import { table } from "../table.ts"

const inDatabase = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  untilStopped(Effect.provide(effect, ownerDatabase.layer)).pipe(
    Effect.mapError((error) => (error instanceof Refusal ? error : new Refusal({ message: error.message })))
  )

const report = (verb: string, names: ReadonlyArray<string>) =>
  Console.log(names.length === 0 ? `Nothing to ${verb}.` : `${names.join("\n")}`)

const up = Command.make("up", {}, () =>
  inDatabase(Effect.flatMap(Migrate.up(), (names) => report("apply", names)))
).pipe(Command.withDescription("Apply what is pending"))

const down = Command.make(
  "down",
  {
    to: Flag.Int("to").pipe(
      Flag.withDescription("Take back everything above this number; unless told, only the newest"),
      Flag.optional
    )
  },
  Effect.fn("migrate.down")(function* ({ to }) {
    if (yield* isHeld(yield* dataDirectory)) {
      return yield* new Refusal({ message: "A platform is running on this database. Stop it before migrating down." })
    }
    const options = to._tag === "Some" ? { to: to.value } : {}
    yield* inDatabase(Effect.flatMap(Migrate.down(options), (names) => report("take back", names)))
  })
).pipe(Command.withDescription("Take back the newest migration, and the data in what it made"))

const status = Command.make("status", {}, () =>
  inDatabase(
    Effect.flatMap(Migrate.status(), (migrations) =>
      Console.log(
        table(
          ["migration", "applied"],
          migrations.map(({ name, appliedAt }) => [name, appliedAt?.toISOString() ?? "pending"])
        )
      )
    )
  )
).pipe(Command.withDescription("Show every migration and whether it is applied"))

/** `argusiq migrate up|down|status`. */
export const migrate = Command.make("migrate").pipe(
  Command.withDescription("Bring the database to the schema of this release, or back"),
  Command.withSubcommands([up, down, status])
)
