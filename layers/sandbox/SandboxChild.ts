/**
 * One child process of the sandbox, seen from its parent: takes one job at a time, and is killed when an evaluation takes too long.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { processorTime } from "./processorTime.ts"
import type { Job } from "./protocol.ts"

const here = dirname(fileURLToPath(import.meta.url))
const library = dirname(fileURLToPath(import.meta.resolve("jsonata")))

const MEMORY_MEGABYTES = 64
const START_LIMIT_MILLIS = 30_000
const LOOK_EVERY_MILLIS = 20
/** Of real time: a child that uses no processor time is as good as stuck, however busy the machine. */
const REAL_LIMIT_FACTOR = 40
const MOST_STDERR_UNITS = 2_000

const flags = [
  `--max-old-space-size=${MEMORY_MEGABYTES}`,
  "--stack-size=800",
  "--disallow-code-generation-from-strings",
  "--no-warnings",
  "--permission",
  "--allow-worker",
  ...[here, library, join(here, "..", "package.json")].map((path) => `--allow-fs-read=${path}`)
]

/** How a job came to an end: `stuck` when the evaluation after the last answered one was killed, or made the process crash. */
export type JobEnd = "done" | "stuck" | "lost"

interface Running {
  readonly size: number
  answered: number
  readonly onLine: (index: number, line: string) => void
  readonly resolve: (end: JobEnd) => void
}

export class SandboxChild {
  /** Resolves once: whether it can take jobs. */
  readonly ready: Promise<boolean>
  isDead = false
  stderr = ""
  readonly #process: ChildProcess
  readonly #limitMillis: number
  #becameReady: (isReady: boolean) => void = () => undefined
  #isReady = false
  #running: Running | undefined
  #rest: Array<string> = []
  #isStuck = false

  constructor(limitMillis: number) {
    this.#limitMillis = limitMillis
    this.ready = new Promise((resolve) => (this.#becameReady = resolve))
    const child = spawn(process.execPath, [...flags, join(here, "child.ts")], {
      env: {},
      cwd: "/",
      stdio: ["pipe", "pipe", "pipe", "pipe"] // the last is for the child to see the parent's end
    })
    this.#process = child
    const starting = setTimeout(() => this.kill(), START_LIMIT_MILLIS)
    void this.ready.then(() => clearTimeout(starting))
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => this.#read(chunk))
    child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
      if (this.stderr.length < MOST_STDERR_UNITS) this.stderr += chunk.slice(0, MOST_STDERR_UNITS)
    })
    for (const stream of child.stdio) stream?.on("error", () => undefined)
    child.on("error", () => this.#ended(null))
    child.on("close", (_, signal) => this.#ended(signal))
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  kill(): void {
    this.#process.kill("SIGKILL")
  }

  /** Calls `onLine` for each evaluation in order. To be called when ready, and not before the job before has ended. */
  run(job: Job, onLine: Running["onLine"]): Promise<JobEnd> {
    return new Promise((resolve) => {
      if (this.isDead) return resolve("lost")
      this.#running = { size: job.evaluations.length, answered: 0, onLine, resolve }
      this.#process.stdin!.write(`${JSON.stringify(job)}\n`)
      this.#watch(this.#running)
    })
  }

  #watch(running: Running): void {
    const { pid } = this.#process
    const used = () => (pid === undefined ? undefined : processorTime(pid))
    let answered = -1
    let usedBefore: number | undefined
    let since = 0
    // what the child has said already is read before it is judged: this process may have been busy itself
    const look = () =>
      setImmediate(() => {
        if (this.#running !== running) return clearInterval(timer)
        if (running.answered !== answered) {
          answered = running.answered
          usedBefore = used()
          since = performance.now()
          return
        }
        const usedNow = used()
        const realMillis = performance.now() - since
        const millis =
          usedBefore === undefined || usedNow === undefined ? realMillis / 4 : Math.max(usedNow - usedBefore, 0)
        if (millis < this.#limitMillis && realMillis < this.#limitMillis * REAL_LIMIT_FACTOR) return
        this.#isStuck = true
        this.kill()
      })
    const timer = setInterval(look, LOOK_EVERY_MILLIS)
    look()
  }

  #read(chunk: string): void {
    let from = 0
    for (let end = chunk.indexOf("\n"); end !== -1; end = chunk.indexOf("\n", from)) {
      const line = chunk.slice(from, end)
      from = end + 1
      if (this.#rest.length === 0) this.#line(line)
      else {
        const whole = this.#rest.join("") + line
        this.#rest = []
        this.#line(whole)
      }
    }
    if (from < chunk.length) this.#rest.push(chunk.slice(from))
  }

  #line(line: string): void {
    if (!this.#isReady) {
      this.#isReady = true
      this.#becameReady(true)
      return
    }
    const running = this.#running
    if (running === undefined) return
    running.onLine(running.answered++, line)
    if (running.answered === running.size) this.#end("done")
  }

  #end(end: JobEnd): void {
    const running = this.#running
    this.#running = undefined
    running?.resolve(end)
  }

  /** A signal from outside says nothing about what was being evaluated; one that the engine raised itself, for want of memory, does. */
  #ended(signal: NodeJS.Signals | null): void {
    this.isDead = true
    this.#becameReady(false)
    const isFromOutside = !this.#isStuck && (signal === "SIGKILL" || signal === "SIGTERM" || signal === "SIGINT")
    this.#end(isFromOutside ? "lost" : "stuck")
  }
}
