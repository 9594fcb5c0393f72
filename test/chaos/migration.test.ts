import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { briefPace } from '../../chaos/migration/pace.js';
import { reportText } from '../../chaos/migration/report.js';
import { runMigrations } from '../../chaos/migration/run.js';
import { checkoutRoot } from '../../engines/checkout.js';
import { makeOwnedFolder } from '../../engines/process/owned-folder.js';

// The short form of `npm run chaos`, on engines of its own: it kills them. Services run as built, see `npm test`.

/** Another one with CHAOS_SEED. */
const seed = Number(process.env.CHAOS_SEED ?? 117);

it('keeps every promise through a rollback, a cutover and some faults', { timeout: 240_000 }, async () => {
  const services = join(checkoutRoot, 'dist', 'chaos', 'migration', 'services');
  expect(existsSync(join(services, 'producer.js')), 'npm run build').toBe(true);
  console.info(`seed ${seed}`);
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-chaos-test');
  try {
    const report = await runMigrations({
      ...{ seed, forMs: 5_000, folder, faults: 4, rate: 100, pace: briefPace },
      log: (line) => {
        console.info(line);
      },
      onEvent: () => undefined,
      onProgress: () => undefined,
      signal: AbortSignal.timeout(200_000),
    });
    console.info(reportText(report));
    const { anomalies, problems, totals, java, migrations } = report;
    expect({ anomalies, problems }).toEqual({ anomalies: {}, problems: [] });
    expect(migrations.at(-1)).toMatchObject({ outcome: 'completed' });
    expect(totals).toMatchObject({ faults: 4, cutovers: 1 });
    expect(java.acknowledged).toBeGreaterThan(0);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
});
