# syntax=docker/dockerfile:1
# Targets: owlmq-local (the local OwlMQ server) and worker (the Temporal worker, the default).
# Debian, because the Temporal SDK's native core needs glibc.
ARG NODE_IMAGE=node:22.21.1-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
# Dependencies change less often than code: a layer of their own.
COPY package.json package-lock.json ./
COPY packages/kafka-bridge/package.json packages/kafka-bridge/
COPY packages/owlmq-local/package.json packages/owlmq-local/
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.base.json tsconfig.build.json tsconfig.json ./
COPY scripts scripts
COPY packages packages
COPY engines engines
COPY demo demo
COPY bench bench
COPY src src
COPY page page
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM ${NODE_IMAGE} AS runtime
ENV NODE_ENV=production
WORKDIR /app
# Owned by root: the process can read its code, not change it.
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/packages packages

FROM runtime AS owlmq-local
RUN install -d -o node -g node /data
USER node
VOLUME /data
EXPOSE 8085
HEALTHCHECK --interval=5s --timeout=5s --retries=12 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8085/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Inside a container loopback reaches no one; who may connect is decided where the port is published.
ENTRYPOINT ["node", "packages/owlmq-local/bin/owlmq-local.js"]
CMD ["--host", "0.0.0.0", "--port", "8085", "--data", "/data"]

FROM runtime AS worker
COPY --from=build /app/dist dist
COPY --from=build /app/page page
USER node
ENTRYPOINT ["node", "dist/src/worker.js"]
