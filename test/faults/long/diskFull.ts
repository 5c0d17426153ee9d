/**
 * The disk fills up under load. The data directory lies on a small file system of its own, mounted for the run, which needs
 * root. Nothing may be acknowledged that is not durable, memory is bounded, and once there is room again everything goes on
 * by itself.
 * @module
 */
import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { eventually, PlatformProcess } from "../../support/PlatformProcess.ts"
import { connectSuperuser } from "../../support/superuser.ts"
import { prepareDevices, startSender, storedCount, takeHoldings } from "../kills.ts"
import { judge, readLedger, total, type Verdict } from "../ledger.ts"
import { watchMemory } from "../memory.ts"

export interface DiskFullPlan {
  /** Free space below which the log refuses; 0: it goes on until the disk itself refuses. */
  readonly minFreeBytes: number
  /** From the moment at which the log refuses to the moment at which there is room again. */
  readonly fullSeconds: number
  readonly devices: number
  readonly messagesPerSecond: number
}

export interface DiskFullReport {
  readonly sent: number
  readonly acknowledged: number
  /** In the second half of the time without room. */
  readonly acknowledgedWhileFull: number
  /** As the platform's log words it. */
  readonly refusal: string
  /** Errors "No space left on device" that PostgreSQL logged, and how often it had to be started again. */
  readonly postgresErrors: number
  readonly postgresRestarts: number
  /** From the return of room to the last stored row. */
  readonly caughtUpSeconds: number
  readonly peakRssAnonBytes: number
  readonly verdict: Verdict
}

const MEBIBYTE = 1_048_576
const DISK_BYTES = 1_600 * MEBIBYTE
/** What is left beside the ballast when the load begins, above the threshold. */
const ROOM_BYTES = 48 * MEBIBYTE

const count = (text: string, what: RegExp) => text.match(what)?.length ?? 0

const freeBytes = (directory: string): number => {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}

/** Makes PostgreSQL need new segments of its write-ahead log, for which there is no room: it panics. */
const exhaustWal = async (dataDirectory: string): Promise<void> => {
  for (let segment = 0; segment < 20; segment++) {
    try {
      const sql = await connectSuperuser(dataDirectory)
      try {
        await sql.query("select pg_logical_emit_message(true, 'fault', repeat('x', 1000000)), pg_switch_wal()")
      } finally {
        await sql.close()
      }
    } catch {
      return // it is down, as it should be
    }
  }
}

/** A file system of its own on the directory while `use` runs. */
const onSmallDisk = async <A>(use: (dataDirectory: string) => Promise<A>): Promise<A> => {
  const parent = mkdtempSync(join(tmpdir(), "argusiq-disk-"))
  chmodSync(parent, 0o755)
  const mount = join(parent, "data")
  mkdirSync(mount)
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES},mode=0755`, "tmpfs", mount])
  try {
    return await use(mount)
  } finally {
    execFileSync("umount", [mount])
    rmSync(parent, { recursive: true, force: true })
  }
}

export const runDiskFull = (plan: DiskFullPlan): Promise<DiskFullReport> =>
  onSmallDisk(async (dataDirectory) => {
    const platform = await PlatformProcess.prepare({
      dataDirectory,
      env: { ARGUSIQ_BUS_MIN_FREE_BYTES: String(plan.minFreeBytes) }
    })
    const ledger = `${dataDirectory}.ledger`
    const ballast = join(dataDirectory, "ballast")
    let sender: ReturnType<typeof startSender> | undefined
    try {
      await platform.start()
      const { pid } = platform
      const devices = await prepareDevices(platform, plan.devices)
      writeFileSync(ballast, Buffer.alloc(freeBytes(dataDirectory) - plan.minFreeBytes - ROOM_BYTES))
      const memory = watchMemory(pid)
      const book = () => readLedger(ledger, plan.devices)
      sender = startSender({
        port: platform.mqttPort,
        ledger,
        devices,
        messagesPerSecond: plan.messagesPerSecond,
        maxOutstanding: 200,
        drainMillis: 120_000
      })
      const refusal = await eventually(
        "the log refusing",
        120,
        () =>
          /The log takes no messages[^]*?(only [\d.]+ GiB are free|the disk is full or fails|No space left[^"\n]*|could not be written[^"\n]*)/.exec(
            platform.log()
          )?.[1]
      )
      if (plan.minFreeBytes === 0) await exhaustWal(dataDirectory)
      await sleep((plan.fullSeconds / 2) * 1000)
      const before = total(book().acknowledged)
      await sleep((plan.fullSeconds / 2) * 1000)
      const acknowledgedWhileFull = total(book().acknowledged) - before
      rmSync(ballast)
      const { outstanding } = await sender.finish()
      if (outstanding > 0)
        throw new Error(`${outstanding} messages were never acknowledged: ${platform.log().slice(-3000)}`)
      const roomAt = performance.now()
      const { acknowledged, sent } = book()
      await eventually("storing everything", 300, async () =>
        (await storedCount(dataDirectory)) >= total(sent) ? true : undefined
      )
      const caughtUpSeconds = (performance.now() - roomAt) / 1000
      if (!platform.isRunning || platform.pid !== pid) throw new Error("the platform did not survive")
      const peakRssAnonBytes = memory.stop()
      await platform.stop()
      return {
        sent: total(sent),
        acknowledged: total(acknowledged),
        acknowledgedWhileFull,
        refusal,
        postgresErrors: count(readFileSync(join(dataDirectory, "postgres", "server.log"), "utf8"), /No space left/g),
        postgresRestarts: count(platform.log(), /starting it again/g),
        caughtUpSeconds,
        peakRssAnonBytes,
        verdict: judge(book(), await takeHoldings(dataDirectory, devices))
      }
    } finally {
      sender?.kill()
      await platform.dispose({ keepFiles: true })
    }
  })
