import { randomInt } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import type { Kill, RunResult } from '../../boundaries/boundary-run.js';
import { Harness } from '../../boundaries/harness.js';
import { planKills, unreached } from '../../boundaries/plan.js';
import { scenarios } from '../../boundaries/scenarios.js';
import { makeOwnedFolder } from '../../engines/process/owned-folder.js';

// The short form of `npm run boundaries`, on a Kafka of its own. Programs run as built, see `npm test`.

/** Positions are on OwlMQ and nobody was told; and the journal is decided and nobody was told. */
const aroundTheJournal: Kill[] = [
  {
    boundary: { kind: 'activity', site: 'moveOffsets "import group offsets, read back"', moment: 'after', nth: 1 },
    victim: 'worker',
  },
  {
    boundary: {
      kind: 'workflow task',
      site: 'applyRouting "epoch N: cutover: OwlMQ is primary, its consumers are live" + cancel timer',
      moment: 'after',
      nth: 1,
    },
    victim: 'worker',
  },
];

it('lists every step of the worker, and comes through deaths at the journal', { timeout: 240_000 }, async () => {
  const seed = randomInt(1_000_000);
  console.info(`seed ${seed}`);
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-boundaries-test');
  const log = (line: string): void => {
    console.info(line);
  };
  const harness = await Harness.start({ jobs: 1, seed, folder, log, signal: AbortSignal.timeout(220_000) });
  const results: RunResult[] = [];
  try {
    const [scenario] = scenarios;
    if (scenario === undefined) throw new Error('there is no scenario');
    await harness.runAll([{ scenario, kills: aroundTheJournal }], (_, result) => {
      results.push(result);
    });
    const [result] = results;
    expect(result).toMatchObject({ problems: [], came: aroundTheJournal });
    expect(result?.ended).toMatch(/done$/);
    // A new step is in the list by itself, or has to be named here with the reason why this way does not lead there.
    const withHooks = ['callHook'];
    const withOwlmqDead = ['restoreKafkaOffsets'];
    const elsewhere = [...withHooks, ...withOwlmqDead];
    expect(unreached(results)).toEqual(elsewhere);
    const kills = planKills(new Map([[scenario, result?.passed ?? []]]));
    for (const type of result?.activities.filter((name) => !elsewhere.includes(name)) ?? []) {
      const moments = kills.filter(({ boundary: { kind, site } }) => kind === 'activity' && site.startsWith(type));
      expect(new Set(moments.map(({ boundary }) => boundary.moment)), type).toEqual(new Set(['before', 'after']));
    }
  } finally {
    await harness.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
});
