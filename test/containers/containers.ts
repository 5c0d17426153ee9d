/**
 * The components of tests in containers that Testcontainers starts: for TEST_COMPONENTS. With TEST_IMAGES=local from the
 * stand-in image, else from the images that docker-compose.yml names, and mosquitto's.
 *
 * redis-server and mosquitto run on the network of this machine and see its temporary directory at its own path, so that
 * they take the same files and addresses as processes do. They need the Docker daemon of this machine. All containers
 * bear the label `argusiq-test-run`, by which the run removes what its tests have left.
 * @module
 */
import { RedpandaContainer } from "@testcontainers/redpanda"
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { createWriteStream } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from "testcontainers"
import { type Components, type KafkaBroker, type Running } from "../support/components/running.ts"
import { componentImages } from "./componentImages.ts"

const { images, isStandIn } = componentImages(process.env["TEST_IMAGES"])
const labels = { "argusiq-test-run": process.env["TEST_RUN"] ?? "none" }

const clientOf = async (container: StartedTestContainer) =>
  (await getContainerRuntimeClient()).container.getById(container.getId())

/** Signals go to the container's first process; frozen is all of it. */
class RunningContainer implements Running {
  readonly pid: number
  readonly #container: Awaited<ReturnType<typeof clientOf>>
  readonly #ending: Promise<void>
  readonly #isRemovedAtEnd: boolean
  #ended: string | undefined

  private constructor(container: Awaited<ReturnType<typeof clientOf>>, pid: number, isRemovedAtEnd: boolean) {
    this.#container = container
    this.pid = pid
    this.#isRemovedAtEnd = isRemovedAtEnd
    this.#ending = container.wait().then(
      ({ StatusCode }: { StatusCode: number }) => void (this.#ended = String(StatusCode)),
      (error: unknown) => void (this.#ended = String(error))
    )
  }

  /** `isRemovedAtEnd`: its container is not started again. */
  static async of(started: StartedTestContainer, isRemovedAtEnd: boolean): Promise<RunningContainer> {
    const container = await clientOf(started)
    return new RunningContainer(container, (await container.inspect()).State.Pid, isRemovedAtEnd)
  }

  ended(): string | undefined {
    return this.#ended
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    await this.#container.kill({ signal })
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.#ended !== undefined) return
    // It may end by itself meanwhile.
    await this.signal(signal).catch(() => undefined)
    await this.#ending
    if (this.#isRemovedAtEnd) await this.#container.remove({ force: true, v: true })
  }

  freeze(): void {
    execFileSync("docker", ["pause", this.#container.id], { stdio: "ignore" })
  }

  thaw(): void {
    execFileSync("docker", ["unpause", this.#container.id], { stdio: "ignore" })
  }
}

/** To a file, as a process's output goes. */
const outputTo = (directory: string) => (stream: NodeJS.ReadableStream) =>
  void stream.pipe(createWriteStream(join(directory, "output"), { flags: "a" }))

const sharedDirectory = [{ source: tmpdir(), target: tmpdir(), mode: "rw" as const }]
const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`

/** Kafka's settings of `KafkaCluster`, as Redpanda names them. */
const redpandaSettings = {
  auto_create_topics_enabled: "false",
  group_min_session_timeout_ms: "1000",
  group_initial_rebalance_delay: "0"
}

/** Brokers that have been started, by their directory: started again, they have what they had stored. */
const redpandas = new Map<string, StartedTestContainer>()

const mustSucceed = async (container: StartedTestContainer, ...command: ReadonlyArray<string>) => {
  const { exitCode, output } = await container.exec([...command])
  if (exitCode !== 0) throw new Error(`${command.join(" ")} answered ${exitCode}: ${output}`)
}

const startRedpanda = async ({ brokers, directory, port, properties }: KafkaBroker): Promise<Running> => {
  if (brokers > 1 || Object.keys(properties).length > 0) {
    throw new Error("In containers one broker can be started, with its usual properties")
  }
  const known = redpandas.get(directory)
  if (known !== undefined) {
    await (await clientOf(known)).start()
    await mustSucceed(known, "rpk", "cluster", "health", "--exit-when-healthy")
    return RunningContainer.of(known, false)
  }
  const container = await new RedpandaContainer(images.kafka)
    .withExposedPorts({ container: 9092, host: port })
    .withLabels(labels)
    .withLogConsumer(outputTo(directory))
    .start()
  redpandas.set(directory, container)
  for (const [name, value] of Object.entries(redpandaSettings)) {
    await mustSucceed(container, "rpk", "cluster", "config", "set", name, value)
  }
  return RunningContainer.of(container, false)
}

export const components: Components = {
  start: async (program, { directory, parameters }) => {
    const container = await new GenericContainer(program === "mosquitto" ? images.mosquitto : images.redis)
      .withEntrypoint([program])
      .withCommand([...parameters])
      .withNetworkMode("host")
      .withBindMounts(sharedDirectory)
      .withUser(user)
      .withLabels(labels)
      .withLogConsumer(outputTo(directory))
      .start()
    return RunningContainer.of(container, true)
  },
  startKafka: startRedpanda,
  hashMosquittoPasswords: async (file) => {
    const { source, target } = sharedDirectory[0] ?? { source: tmpdir(), target: tmpdir() }
    const container = ["--rm", "--network", "none", "--user", user, "--volume", `${source}:${target}`]
    execFileSync("docker", ["run", ...container, images.mosquitto, "mosquitto_passwd", "-U", file], { stdio: "ignore" })
  },
  startPostgres: async (settings) => {
    const password = randomBytes(16).toString("hex")
    const container = new GenericContainer(images.database)
      .withEnvironment({ POSTGRES_USER: "postgres", POSTGRES_DB: "postgres", POSTGRES_PASSWORD: password })
      .withCommand(["postgres", ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])])
      .withExposedPorts(5432)
      .withLabels(labels)
      // The image's own start-up runs a first server, without TCP, to set up the database.
      .withWaitStrategy(Wait.forLogMessage("ready to accept connections", isStandIn ? 1 : 2))
    if (isStandIn) container.withEntrypoint(["database.sh"])
    const started = await container.start()
    return {
      port: started.getMappedPort(5432),
      password,
      stop: async () => void (await started.stop())
    }
  }
}
