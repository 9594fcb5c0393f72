import { MockActivityEnvironment } from '@temporalio/testing';
import { observationEnds } from '@owlmq/kafka-bridge/operations';
import { parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import { DualConsumer } from '@owlmq/kafka-bridge';
import { expect, it, onTestFinished } from 'vitest';
import { runBuilt } from '../../packages/kafka-bridge/test/cli-harness.js';
import { Bench } from '../../packages/kafka-bridge/test/consumer-harness.js';
import { createActivities } from '../../src/activities/index.js';
import type { MigrationActivities, SoakReport } from '../../src/activities/migration-activities.js';
import { acknowledgeRefusal } from '../../src/workflows/acknowledgements.js';
import { newMigrationState } from '../../src/workflows/migration-state.js';
import { workerConnections } from './worker-connections.js';

it('the soak ends its slice at a discrepancy with a diagnosis, and what it found can be listed and acknowledged', async () => {
  const bench = await Bench.open(1);
  onTestFinished(() => bench.close());
  const { connection, migration, group, topic } = bench;
  const start = await observationEnds(connection);
  await bench.route({});
  const consumer = new DualConsumer<number>({
    ...bench.options(),
    // An error on the shadow alone, at the third message.
    process: ({ value, position }) => {
      if (position.leg === 'owlmq' && value?.toString() === '3') throw new RangeError('planted');
      return Number(value?.toString());
    },
    apply: () => undefined,
    onError: (error) => {
      throw error;
    },
  });
  await consumer.start();
  onTestFinished(() => consumer.stop());
  const shadowFrom = { [topic]: await bench.reader.ends(topic) };
  const { epoch } = await bench.route({ shadow: 'compare', shadowFrom });
  await bench.untilReports(1, (report) => report.epoch === epoch && report.shadow);

  const { owlmq } = bench;
  const steps: MigrationActivities = createActivities({
    ...(await workerConnections(connection, 'discrepancies-test')),
    owlmq,
  });
  await bench.publish([1, 2, 3, 4].map((value) => ({ key: 'k0', value: String(value) })));
  // In two parts; what the group reads is in one of them. The first to end ends the other, as the workflow does.
  const watchPart = (part: number) => (): Promise<SoakReport> =>
    steps.watchSoak({
      ...{ migration, topics: [topic], groups: [group], latenessMs: 1_000, sliceMs: 60_000, start, from: shadowFrom },
      ...{ endAtDiscrepancy: true, parts: 2, partitions: [...start.keys()].filter((one) => one % 2 === part) },
    });
  const environments = [0, 1].map(() => new MockActivityEnvironment({ scheduledTimestampMs: Date.now() }));
  const running = environments.map((environment, part): Promise<SoakReport> => environment.run(watchPart(part)));
  await Promise.race(running);
  for (const environment of environments) environment.cancel('CANCELLED');
  const reports = await Promise.all(running);
  const comparison = reports.map((report) => report.comparison).find(({ diagnosis }) => diagnosis !== undefined);
  if (comparison === undefined) throw new Error(`Nothing was diagnosed: ${JSON.stringify(reports)}`);
  expect(comparison.groups[group]?.counts).toMatchObject({ failedShadow: 1, missing: 0 });
  expect(comparison.notStored).toBeUndefined();
  expect(comparison.diagnosis).toMatchObject({
    diagnoses: [
      {
        group,
        verdicts: ['failedShadow'],
        what: `The handler of group ${group} fails on the shadow alone: RangeError.`,
      },
    ],
    notLooked: [],
  });
  expect(comparison.diagnosis?.diagnoses[0]?.evidence.join()).toContain(consumer.instance);

  // At once: it was stored before the step returned.
  const json = ['--migration', migration, '--output', 'json'];
  const { apiKey, url } = bench.options().owlmq;
  const list = await runBuilt(['discrepancies', 'list', ...json], { OWLMQ_URL: url, OWLMQ_API_KEY: apiKey });
  expect(list.code).toBe(3);
  expect(JSON.parse(list.out)).toMatchObject({
    groups: [{ group, counts: { failedShadow: 1 }, missingParts: 0 }],
    diagnoses: [{ what: comparison.diagnosis?.diagnoses[0]?.what }],
  });
  const show = await runBuilt(['discrepancies', 'show', ...json, comparison.samples[0]?.id ?? '']);
  const { samples } = JSON.parse(show.out) as { samples: { acknowledge: string }[] };
  const input = /--input '(.*)'$/.exec(samples[0]?.acknowledge ?? '')?.[1];
  const plan = parseMigrationInput({ topics: [topic], groups: [group] });
  // What is printed is what the update takes.
  expect(acknowledgeRefusal(plan, newMigrationState(''), JSON.parse(input ?? ''))).toBeUndefined();
});
