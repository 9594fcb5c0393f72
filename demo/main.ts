#!/usr/bin/env node
import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Command, Option } from 'commander';
import { DiskFullError, EngineConfigError, EngineStartError, EngineUnavailableError } from '../engines/errors.js';
import { Progress as FetchProgress } from '../engines/fetch/progress.js';
import { findTemporalCli } from '../engines/find/temporal-cli.js';
import { makeOwnedFolder } from '../engines/process/owned-folder.js';
import { startEngines } from '../engines/start-engines.js';
import { positive, runProgram, untilInterrupted, whole } from './command-line.js';
import { ProgressDisplay, reportText } from './display.js';
import { FleetProcessEndedError } from './fleet.js';
import { rollbackPhases, Trial, TrialError, type RollbackPhase } from './trial.js';

interface DemoOptions {
  json?: string;
  rollbackAt?: RollbackPhase;
  keep: boolean;
  rate: number;
  seed: number;
}

/** The playbook's ten hours, 48 hours and two weeks, in about a minute. */
const compressedClock = {
  ramp: { step: 0.1, interval: '1 second' },
  soak: { duration: '15 seconds', minComparisons: 500, lateness: '5 seconds' },
  cutover: { window: '30 seconds', backOff: '2 seconds' },
  warm: { duration: '15 seconds' },
  decommission: 'automatic',
  audit: { grace: '2 seconds' },
} as const;

const display = new ProgressDisplay();
const log = (line: string): void => {
  display.write(line);
};

async function demo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const temporalCli = await findTemporalCli(new FetchProgress(log), signal);
  const engines = await startEngines({ want: ['temporal', 'kafka', 'owlmq'], log, signal });
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-demo');
  let keepLogs = true;
  let trial: Trial | undefined;
  try {
    // On systems that were given, names of their own: what is there is not touched.
    const given = ['TEMPORAL_ADDRESS', 'KAFKA_BROKERS', 'OWLMQ_URL'].some((name) => process.env[name]);
    const suffix = given ? `-${Date.now().toString(36)}` : '';
    const migration = `migrate-orders${suffix}`;
    const { address, uiUrl } = engines.temporal;
    log(`seed ${options.seed}, ${options.rate} messages a second; logs of all processes: ${folder}`);
    trial = await Trial.prepare({
      temporalCli,
      temporalAddress: address,
      migration,
      taskQueue: `kafka-to-owlmq${suffix}`,
      topics: { orders: `orders.created${suffix}`, payments: `payments.settled${suffix}` },
      groups: [`payment-service${suffix}`, `notification-service${suffix}`],
      membersPerGroup: 2,
      producers: 3,
      foreignRate: 40,
      partitions: 6,
      keys: 300,
      rate: options.rate,
      seed: options.seed,
      pace: compressedClock,
      rollbackAt: options.rollbackAt,
      trafficAfterMs: 3_000,
      limitMs: 5 * 60_000,
      env: engines.env,
      folder,
      log,
      signal,
      onProgress: (progress) => {
        display.show(progress);
      },
    });
    if (uiUrl !== undefined) log(`Temporal UI: ${uiUrl}/namespaces/default/workflows/${migration}`);
    const report = await trial.run();
    log(reportText(report));
    if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
    if (report.problems.length > 0) process.exitCode = 1;
    keepLogs = report.problems.length > 0;
    if (options.keep) await keepUp(trial, uiUrl, signal);
  } finally {
    await trial?.stop();
    await engines.stop();
    if (keepLogs && !signal.aborted) log(`Logs are kept until the next demo: ${folder}`);
    else await rm(folder, { recursive: true, force: true });
  }
}

/** New traffic on the migrated topics until Ctrl-C. */
async function keepUp(trial: Trial, uiUrl: string | undefined, signal: AbortSignal): Promise<void> {
  await trial.fleet.startConsumers();
  await trial.fleet.startProducers();
  log(`
Engines, worker and traffic stay up. Ctrl-C ends all.${uiUrl === undefined ? '' : `\n  Temporal UI  ${uiUrl}`}
  ${trial.statusCommand}`);
  await new Promise<void>((resolve) => {
    // The only thing that keeps this process alive now.
    const alive = setInterval(() => undefined, 60_000);
    signal.addEventListener(
      'abort',
      () => {
        clearInterval(alive);
        resolve();
      },
      { once: true },
    );
  });
}

const expected = [
  ...[EngineUnavailableError, EngineStartError, EngineConfigError, DiskFullError],
  ...[TrialError, FleetProcessEndedError],
];
const signal = untilInterrupted(log);
const program = new Command('demo')
  .description('A whole migration from Kafka to OwlMQ under traffic, in about a minute, on engines of its own.')
  .addOption(new Option('--json <file>', 'write the report to a file'))
  .addOption(new Option('--rollback-at <phase>', 'roll back in this phase').choices(rollbackPhases))
  .option('--keep', 'leave engines, worker and traffic up afterwards', false)
  .option('--rate <n>', 'messages a second', positive, 400)
  .option('--seed <n>', 'seed of keys and values', whole, randomInt(1_000_000))
  .action((options: DemoOptions) => demo(options, signal));

await runProgram(program, { signal, expected, log });
