/**
 * The index of the dead letters: what every dead-letter topic holds, as rows that can be searched.
 * @module
 */
import { readDeadLetter } from "@argusiq/domain/dead-letter.ts"
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopics } from "@argusiq/domain/topics.ts"
import { type Consumer, type Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { type Indexed, indexParameters, indexStatement } from "@argusiq/layers/dead-letters/indexStatement.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect, Result } from "effect"

/** What is no dead letter is given back to the loop, which counts it and passes it by. */
export const deadLetterIndex: Effect.Effect<Consumer, never, PipelineSql> = Effect.gen(function* () {
  const sql = yield* PipelineSql
  const store = (indexed: ReadonlyArray<Indexed>) =>
    Effect.suspend(() => sql.unsafe(indexStatement, indexParameters(indexed))).pipe(
      Effect.asVoid,
      Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
    )

  const process: Consumer["process"] = ({ records, topic }) =>
    Effect.sync(() => {
      const indexed: Array<Indexed> = []
      const deadLetters: Array<Outcome["deadLetters"][number]> = []
      for (const record of records) {
        const read = readDeadLetter(topic, record.headers)
        if (Result.isSuccess(read)) indexed.push({ letter: read.success, record })
        else deadLetters.push({ record, error: read.failure })
      }
      return { publish: [], deadLetters, ...(indexed.length > 0 && { store: store(indexed) }) }
    })

  return { service: "jobs", group: Groups.deadLetters, topics: deadLetterTopics, offsets: "postgres", process }
})
