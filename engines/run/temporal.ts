import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import type { ServerPlan } from './server-plan.js';

/** Attributes the workflows set. A dev server refuses what it was not told of at its start. */
const searchAttributes = {
  MigrationPhase: 'Keyword',
  MigrationRatio: 'Double',
  MigrationBlocked: 'Bool',
  MigrationAttention: 'Keyword',
};

/** Temporal's dev server with its UI, on a database file. */
export function temporalPlan(cli: string, folder: string): ServerPlan<'grpc' | 'ui'> {
  return {
    id: 'temporal',
    title: 'Temporal',
    folder,
    preferredPorts: { grpc: 7233, ui: 8233 },
    fingerprint: '',
    readyWithinMs: 60_000,
    graceMs: 10_000,
    command: ({ grpc, ui }) => {
      const listen = ['--ip', '127.0.0.1', '--port', String(grpc), '--ui-port', String(ui)];
      const database = ['--db-filename', join(folder, 'temporal.db'), '--log-level', 'warn'];
      const attributes = Object.entries(searchAttributes).flatMap(([name, type]) => [
        '--search-attribute',
        `${name}=${type}`,
      ]);
      return Promise.resolve({
        file: cli,
        args: ['server', 'start-dev', ...listen, ...database, ...attributes],
        cwd: folder,
      });
    },
    probe: ({ grpc }) => probeTemporal(grpc),
  };
}

/** Resolves if the server answers and knows the search attributes. */
async function probeTemporal(port: number): Promise<void> {
  const connection = await Connection.connect({ address: `127.0.0.1:${port}`, connectTimeout: 2_000 });
  try {
    const { customAttributes } = await connection.withDeadline(Date.now() + 5_000, () =>
      connection.operatorService.listSearchAttributes({ namespace: 'default' }),
    );
    const missing = Object.keys(searchAttributes).filter((name) => customAttributes[name] === undefined);
    if (missing.length > 0) throw new Error(`search attributes not yet known: ${missing.join(', ')}`);
  } finally {
    await connection.close();
  }
}
