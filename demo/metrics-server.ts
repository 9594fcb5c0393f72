import { createServer } from 'node:http';
import type { Registry } from 'prom-client';
import { addressOf } from '../src/settings.js';

/**
 * Serves a registry's metrics to Prometheus, whatever path it asks for.
 *
 * @param address `HOST:PORT`.
 * @returns closes it.
 */
export async function serveMetrics(registry: Registry, address: string): Promise<() => Promise<void>> {
  const server = createServer((_, answer) => {
    registry.metrics().then(
      (text) => answer.setHeader('content-type', registry.contentType).end(text),
      (error: unknown) => answer.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(addressOf(address), resolve);
  });
  return async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
}
