/**
 * `.env.example` as the settings table has it: `node test/deploy/environmentExample.ts` prints it.
 * @module
 */
import { settings } from "../../services/platform/settings.ts"

const heading = `# Settings of docker-compose.yml and of the platform: copy to .env. Lines without # have no default and must be set.

# --- docker-compose.yml: passwords of the components (letters and digits, as they stand in URLs)
POSTGRES_PASSWORD=
REDIS_PASSWORD=
# The password of argusiq-bridge, the same in deploy/emqx/users.csv
MQTT_PASSWORD=
EMQX_COOKIE=
EMQX_DASHBOARD_PASSWORD=
# Shared by broker and platform, which reads it too
WEBHOOK_SECRET=

# --- docker-compose.yml: the image, and ports on this machine
#IMAGE_TAG=local
#BASE_IMAGE=node:24.21.0-bookworm-slim
#API_PORT=3000
#INGEST_PORT=3001
#REALTIME_PORT=3002
#POSTGRES_PORT=5432
#KAFKA_PORT=19092
#REDIS_PORT=6379
#MQTT_PUBLISHED_PORT=1883
#MQTTS_PUBLISHED_PORT=8883
#EMQX_DASHBOARD_PORT=18083

# --- The platform. docker-compose.yml and the image set addresses, directories and ports inside the containers themselves.
`

/** Set above, because the broker needs it too. */
const above = new Set(["WEBHOOK_SECRET"])

export const environmentExample = (): string =>
  heading +
  settings
    .filter(({ name }) => !above.has(name))
    .map(({ allowed, name, unset }) => `# ${allowed}. Not set: ${unset}\n#${name}=\n`)
    .join("")

if (import.meta.main) process.stdout.write(environmentExample())
