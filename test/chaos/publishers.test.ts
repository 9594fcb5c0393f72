import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runChaos } from '../../chaos/publishers/run.js';
import { faultKinds } from '../../chaos/publishers/faults/fault.js';
import { briefPace } from '../../chaos/publishers/pace.js';
import { reportText, type ChaosReport } from '../../chaos/publishers/report.js';
import { checkoutRoot } from '../../engines/checkout.js';
import { makeOwnedFolder } from '../../engines/process/owned-folder.js';

// The short form of `npm run chaos:publishers`, on engines of its own: it kills them. Publishers run as built, see `npm test`.

/** Another one with CHAOS_SEED. */
const seed = Number(process.env.CHAOS_SEED ?? 117);

async function brief(options: { audit: boolean; forMs: number; faults: number; rollbacks: number }) {
  const { audit, forMs, faults, rollbacks } = options;
  expect(existsSync(join(checkoutRoot, 'dist', 'chaos', 'publishers', 'fleet', 'publisher.js')), 'npm run build').toBe(
    true,
  );
  console.info(`seed ${seed}`);
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-chaos-test');
  try {
    const report = await runChaos({
      ...{ seed, audit, forMs, folder, faults, rollbacks, publishers: 3, rate: 150, pace: briefPace },
      log: (line) => {
        console.info(line);
      },
      onEvent: () => undefined,
      onProgress: () => undefined,
      signal: AbortSignal.timeout(200_000),
    });
    console.info(reportText(report));
    return report;
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

function anomaliesOf({ anomalies, problems }: ChaosReport) {
  return { anomalies, problems };
}

it('keeps every promise under half of the faults', { timeout: 240_000 }, async () => {
  const report = await brief({ audit: true, forMs: 6_000, faults: faultKinds.length / 2, rollbacks: 1 });
  expect(anomaliesOf(report)).toEqual({ anomalies: {}, problems: [] });
  expect(Object.keys(report.faults)).toHaveLength(faultKinds.length / 2);
  expect(report.counts.ok).toBeGreaterThan(300);
});

it('misses copies once the audit is off', { timeout: 240_000 }, async () => {
  const report = await brief({ audit: false, forMs: 6_000, faults: 4, rollbacks: 0 });
  expect(report.anomalies['missing-copy']).toBeGreaterThan(0);
});
