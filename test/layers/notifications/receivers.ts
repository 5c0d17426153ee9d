/**
 * Who receives what the platform sends: an HTTP server and a small SMTP server, both in this process and on the loopback.
 * @module
 */
import { Effect } from "effect"
import * as Http from "node:http"
import * as Net from "node:net"

export interface Received {
  readonly path: string
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

/** `answer` decides what a request gets; without it, 204. */
export const httpReceiver = (
  answer: (request: Received, response: Http.ServerResponse) => void = (_, response) =>
    void response.writeHead(204).end()
) =>
  Effect.acquireRelease(
    Effect.callback<{
      readonly port: number
      readonly received: Array<Received>
      readonly connections: () => number
      readonly close: () => void
    }>((resume) => {
      const received: Array<Received> = []
      let connections = 0
      const server = Http.createServer((request, response) => {
        const parts: Array<Buffer> = []
        request.on("data", (part: Buffer) => parts.push(part))
        request.on("error", () => {})
        response.on("error", () => {})
        request.on("end", () => {
          const body = Buffer.concat(parts).toString()
          const one = { path: request.url ?? "", headers: request.headers, body }
          received.push(one)
          answer(one, response)
        })
      })
      server.on("connection", () => void connections++)
      server.listen(0, "127.0.0.1", () => {
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        const { port } = server.address() as Net.AddressInfo
        resume(Effect.succeed({ port, received, connections: () => connections, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

export interface ReceivedLetter {
  readonly from: string
  readonly to: ReadonlyArray<string>
  readonly text: string
}

/** `answerTo` gives the reply to a recipient, `250 OK` without it. */
export const smtpReceiver = (answerTo: (address: string) => string = () => "250 OK") =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly letters: Array<ReceivedLetter>; readonly close: () => void }>(
      (resume) => {
        const letters: Array<ReceivedLetter> = []
        const sockets = new Set<Net.Socket>()
        const server = Net.createServer((socket) => {
          sockets.add(socket)
          socket.on("error", () => {})
          socket.on("close", () => sockets.delete(socket))
          const say = (line: string) => socket.write(`${line}\r\n`)
          let [from, to, text, isData] = ["", [] as Array<string>, "", false]
          let rest = ""
          say("220 test")
          socket.on("data", (bytes) => {
            rest += bytes.toString()
            for (let end = rest.indexOf("\r\n"); end >= 0; end = rest.indexOf("\r\n")) {
              const line = rest.slice(0, end)
              rest = rest.slice(end + 2)
              if (isData) {
                if (line !== ".") text += `${line}\n`
                else {
                  letters.push({ from, to, text })
                  isData = false
                  say("250 OK")
                }
                continue
              }
              const address = /<([^>]*)>/.exec(line)?.[1] ?? ""
              const verb = line.slice(0, 4).toUpperCase()
              if (verb === "MAIL") {
                ;[from, to, text] = [address, [], ""]
                say("250 OK")
              } else if (verb === "RCPT") {
                const reply = answerTo(address)
                if (reply.startsWith("2")) to.push(address)
                say(reply)
              } else if (verb === "DATA") {
                isData = true
                say("354 go on")
              } else if (verb === "QUIT") socket.end("221 bye\r\n")
              else say("250 OK")
            }
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const close = () => {
            for (const socket of sockets) socket.destroy()
            server.close()
          }
          resume(Effect.succeed({ port: (server.address() as Net.AddressInfo).port, letters, close }))
        })
      }
    ),
    ({ close }) => Effect.sync(close)
  )
