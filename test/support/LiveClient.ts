/**
 * A browser's side of a live connection, that keeps all that it was told.
 * @module
 */
import { type Answer } from "@argusiq/domain/realtime/requests.ts"
import { Told, type ToldName, type ToldPayload } from "@argusiq/domain/realtime/told.ts"
import { Result, Schema } from "effect"
import { io, type ManagerOptions, type Socket, type SocketOptions } from "socket.io-client"
import { eventually } from "./PlatformProcess.ts"

export interface Heard {
  readonly name: string
  readonly payload: unknown
  readonly at: number // epoch milliseconds
}

const decoders = Object.fromEntries(
  Object.entries(Told).map(([name, schema]) => [name, Schema.decodeUnknownResult(schema as Schema.Codec<unknown>)])
)

export class LiveClient {
  readonly socket: Socket
  readonly heard: Array<Heard> = []
  /** What was not as the types say. */
  readonly wrong: Array<string> = []
  /** Why it was disconnected, each time. */
  readonly disconnected: Array<string> = []

  constructor(url: string, token: unknown, options: Partial<ManagerOptions & SocketOptions> = {}) {
    this.socket = io(url, { auth: { token }, forceNew: true, autoConnect: false, reconnection: false, ...options })
    this.socket.onAny((name: string, payload: unknown) => {
      this.heard.push({ name, payload, at: Date.now() })
      const decoded = decoders[name]?.(payload)
      if (decoded === undefined || Result.isFailure(decoded)) {
        this.wrong.push(`${name}: ${decoded === undefined ? "unknown" : String(decoded.failure)}`)
      }
    })
    this.socket.on("disconnect", (reason) => this.disconnected.push(reason))
  }

  /** Rejects with what the server says of a refusal: its `data`, else the error. */
  connect(): Promise<this> {
    return new Promise((resolve, reject) => {
      this.socket.once("connect", () => resolve(this))
      this.socket.once("connect_error", (error) => reject((error as { data?: unknown }).data ?? error))
      this.socket.connect()
    })
  }

  ask(name: string, payload?: unknown): Promise<Answer> {
    return this.socket.timeout(10_000).emitWithAck(name, payload) as Promise<Answer>
  }

  /** Watches it; fails when that is refused. */
  async watch(entityType: "device" | "asset", id: string): Promise<void> {
    const answer = await this.ask("subscribe", { entityType, id })
    if (!answer.ok) throw new Error(answer.error.message)
  }

  all<Name extends ToldName>(name: Name): ReadonlyArray<ToldPayload<Name>> {
    return this.heard.filter((one) => one.name === name).map(({ payload }) => payload as ToldPayload<Name>)
  }

  /** The first one that fits, already told or to come. */
  hears<Name extends ToldName>(
    name: Name,
    fits: (payload: ToldPayload<Name>) => boolean = () => true,
    seconds = 20
  ): Promise<ToldPayload<Name>> {
    return eventually(`${name} being told`, seconds, () => this.all(name).find(fits), 10)
  }

  close(): void {
    this.socket.disconnect()
  }
}
