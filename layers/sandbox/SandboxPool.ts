/**
 * The sandbox's child processes and the queue of what they have to do.
 * @module
 */
import { type Evaluated, ExpressionFailed, ExpressionTimeout } from "@argusiq/domain/expression/expression.ts"
import { MAX_INPUT_UNITS, MAX_RESULT_UNITS } from "@argusiq/domain/expression/limits.ts"
import { type Evaluation, inputOf } from "@argusiq/domain/expression/memo.ts"
import { Result } from "effect"
import { SandboxChild } from "./SandboxChild.ts"
import type { Job } from "./protocol.ts"

const MOST_EVALUATIONS = 256
const MOST_UNITS = 262_144
const LONGEST_PAUSE_MILLIS = 30_000
/** Of one expression within a request: then it is not tried on what is left of the request. */
const MOST_TIMEOUTS = 5
/** A child that somebody else ended says nothing about an evaluation; one that this happens to again and again may. */
const MOST_LOSSES = 3

export interface SandboxOptions {
  readonly size: number
  readonly limitMillis: number
  /** A child could not be started: the requests wait, and it is tried again. */
  readonly onStartFailure: (stderr: string) => void
  /** A child was killed, or ended by itself. */
  readonly onLoss: () => void
}

class Request {
  readonly values: Array<Evaluated | undefined>
  readonly timeouts = new Map<string, number>()
  isCancelled = false
  #open: number
  readonly #done: (values: ReadonlyArray<Evaluated>) => void
  constructor(size: number, done: (values: ReadonlyArray<Evaluated>) => void) {
    this.values = Array.from({ length: size }, () => undefined)
    this.#open = size
    this.#done = done
  }

  settle(index: number, value: Evaluated): void {
    this.values[index] = value
    if (--this.#open === 0 && !this.isCancelled) this.#done(this.values as ReadonlyArray<Evaluated>)
  }
}

interface Task {
  readonly request: Request
  readonly index: number // in the request
  readonly source: string
  readonly json: string // the input
  losses: number
}

const readLine = (source: string, line: string): Evaluated => {
  if (line === "u") return Result.succeed(undefined)
  const value: unknown = JSON.parse(line.slice(1))
  if (line.startsWith("v")) return Result.succeed(value)
  return Result.fail(new ExpressionFailed({ expression: source, message: String(value) }))
}

export class SandboxPool {
  readonly #options: SandboxOptions
  readonly #children = new Set<SandboxChild>()
  readonly #idle: Array<SandboxChild> = []
  readonly #queue: Array<ReadonlyArray<Task>> = []
  #pauseMillis = 0
  #isPaused = false
  #isClosed = false

  constructor(options: SandboxOptions) {
    this.#options = options
  }

  /** The processes that there are; for tests. */
  get pids(): ReadonlyArray<number> {
    return [...this.#children].flatMap(({ pid }) => pid ?? [])
  }

  /** Returns how to give up waiting. */
  evaluate(batch: ReadonlyArray<Evaluation>, done: (values: ReadonlyArray<Evaluated>) => void): () => void {
    if (batch.length === 0) {
      done([])
      return () => undefined
    }
    const request = new Request(batch.length, done)
    const tasks: Array<Task> = []
    batch.forEach(({ expression, input }, index) => {
      const { run, source } = expression
      if (run !== undefined) return request.settle(index, run(input))
      const json = JSON.stringify(inputOf(expression, input))
      if (json.length <= MAX_INPUT_UNITS) tasks.push({ request, index, source, json, losses: 0 })
      else {
        const message = `What it reads has ${json.length} characters as JSON, more than ${MAX_INPUT_UNITS}.`
        request.settle(index, Result.fail(new ExpressionFailed({ expression: source, message })))
      }
    })
    this.#enqueue(tasks)
    return () => (request.isCancelled = true)
  }

  close(): void {
    this.#isClosed = true
    for (const child of this.#children) child.kill()
  }

  #enqueue(tasks: ReadonlyArray<Task>): void {
    let job: Array<Task> = []
    let units = 0
    for (const task of tasks) {
      if (job.length === MOST_EVALUATIONS || (job.length > 0 && units + task.json.length > MOST_UNITS)) {
        this.#queue.push(job)
        job = []
        units = 0
      }
      job.push(task)
      units += task.json.length
    }
    if (job.length > 0) this.#queue.push(job)
    this.#dispatch()
  }

  #dispatch(): void {
    while (this.#queue.length > 0 && this.#idle.length > 0) this.#start(this.#idle.pop()!, this.#queue.shift()!)
    // all at once, so that another goes on at once when one is killed
    const starting = this.#queue.length > 0 ? this.#options.size - this.#children.size : 0
    for (let index = 0; index < starting; index++) this.#spawn()
  }

  #spawn(): void {
    if (this.#isPaused || this.#isClosed) return
    const child = new SandboxChild(this.#options.limitMillis)
    this.#children.add(child)
    void child.ready.then((isReady) => {
      if (isReady) {
        this.#pauseMillis = 0
        this.#idle.push(child)
        this.#dispatch()
      } else if (!this.#isClosed) {
        this.#children.delete(child)
        this.#options.onStartFailure(child.stderr)
        this.#pause()
      }
    })
  }

  #pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#pauseMillis = Math.min(Math.max(this.#pauseMillis * 2, 500), LONGEST_PAUSE_MILLIS)
    setTimeout(() => {
      this.#isPaused = false
      this.#dispatch()
    }, this.#pauseMillis).unref()
  }

  /** Takes what nobody waits for, or what is not tried any more, out of a job. */
  #wanted(tasks: ReadonlyArray<Task>): ReadonlyArray<Task> {
    return tasks.filter((task) => {
      if (task.request.isCancelled) return false
      if ((task.request.timeouts.get(task.source) ?? 0) < MOST_TIMEOUTS) return true
      this.#timeOut(task)
      return false
    })
  }

  #timeOut({ index, request, source }: Task): void {
    const { limitMillis } = this.#options
    request.settle(index, Result.fail(new ExpressionTimeout({ expression: source, limitMillis })))
  }

  #start(child: SandboxChild, queued: ReadonlyArray<Task>): void {
    const tasks = child.isDead ? queued : this.#wanted(queued)
    if (tasks.length === 0) {
      this.#idle.push(child)
      return
    }
    const sources = [...new Set(tasks.map(({ source }) => source))]
    const places = new Map(sources.map((source, place) => [source, place]))
    const evaluations = tasks.map(({ json, source }) => [places.get(source)!, JSON.parse(json)] as const)
    const job: Job = { sources, evaluations, maxResultUnits: MAX_RESULT_UNITS }
    let answered = 0
    const running = child.run(job, (index, line) => {
      answered = index + 1
      const { index: place, request, source } = tasks[index]!
      request.settle(place, readLine(source, line))
    })
    void running.then((end) => {
      if (end === "done") this.#idle.push(child)
      else {
        this.#children.delete(child)
        if (this.#isClosed) return
        this.#options.onLoss()
        this.#spawn()
        this.#judge(tasks[answered]!, end === "stuck")
        this.#enqueue(tasks.slice(answered).filter(({ index, request }) => request.values[index] === undefined))
      }
      this.#dispatch()
    })
  }

  /** What was being evaluated when the child ended. */
  #judge(task: Task, isStuck: boolean): void {
    task.losses++
    if (!isStuck && task.losses < MOST_LOSSES) return
    const { request, source } = task
    request.timeouts.set(source, (request.timeouts.get(source) ?? 0) + 1)
    this.#timeOut(task)
  }
}
