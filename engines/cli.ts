#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { execa } from 'execa';
import { checkoutRoot } from './checkout.js';
import {
  DiskFullError,
  EngineConfigError,
  EngineStartError,
  EngineUnavailableError,
  FolderBusyError,
  hasCode,
} from './errors.js';
import { Progress } from './fetch/progress.js';
import { findTemporalCli } from './find/temporal-cli.js';
import type { Program } from './run/program.js';
import { runningServers, stopEngines } from './running-engines.js';
import { startEngines } from './start-engines.js';

/** What `up` runs on the engines, in this order, as far as it is built. */
const programs: readonly (Program & { readonly id: 'worker' | 'traffic' })[] = [
  { id: 'worker', script: join(checkoutRoot, 'dist', 'src', 'worker.js') },
  { id: 'traffic', script: join(checkoutRoot, 'dist', 'demo', 'traffic.js') },
];

const defaultData = join(checkoutRoot, '.engines');
const log = (line: string): void => {
  console.error(line);
};

interface UpOptions {
  readonly data: string;
  readonly worker: boolean;
  readonly traffic: boolean;
}

async function up({ data, ...wanted }: UpOptions): Promise<void> {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // A terminal sends its Ctrl-C to npm too, which passes it on: it may come twice.
    process.on(signal, () => {
      if (!abort.signal.aborted) log(`${signal}: ending what was started …`);
      abort.abort(new Interrupted(signal));
    });
  }
  const engines = await startEngines({
    want: ['temporal', 'kafka', 'owlmq'],
    dataDir: data,
    keepRunning: true,
    ports: 'preferred',
    programs: programs.filter(({ id, script }) => wanted[id] && existsSync(script)),
    log,
    signal: abort.signal,
  });
  const envFile = join(data, 'env');
  const lines = Object.entries(engines.env).map(
    ([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'\n`,
  );
  await writeFile(envFile, lines.join(''), { mode: 0o600 });
  const running = await runningServers(data);
  const extra = running.filter(({ id }) => programs.some((program) => program.id === id));
  const { temporal, kafka, owlmq } = engines;
  console.log(`
Temporal  ${temporal.address}${temporal.uiUrl === undefined ? '' : `   UI ${temporal.uiUrl}`}
Kafka     ${kafka.brokers.join(',')}
OwlMQ     ${owlmq.url}
${extra.map(({ id, pid, logFile }) => `${id.padEnd(9)} process ${pid}, log ${logFile}\n`).join('')}
Next:
  npm run temporal -- workflow start --type migrateKafkaToOwlmq --task-queue kafka-to-owlmq --workflow-id migrate-orders \\
    --input '{"topics":["orders.created"],"groups":["payment-service","notification-service"]}'
  npm run temporal -- workflow list
  . ${envFile}     these addresses, and OwlMQ's key, as environment variables
  npm run down      stops all; the data stays (npm run down -- --reset drops it)`);
}

async function status({ data, json }: { data: string; json: boolean }): Promise<void> {
  const servers = await runningServers(data);
  if (json) {
    console.log(JSON.stringify(servers, null, 2));
  } else if (servers.length === 0) {
    console.log('Nothing runs.');
  } else {
    for (const { title, alive, pid, ports, since, logFile } of servers) {
      const listening = Object.entries(ports).map(([name, port]) => `${name} 127.0.0.1:${port}`);
      const state = alive ? 'running' : 'ENDED without `down`';
      console.log([title.padEnd(9), state, `process ${pid}`, ...listening, `since ${since}`, logFile].join('  '));
    }
  }
  if (servers.length === 0 || servers.some(({ alive }) => !alive)) process.exitCode = 1;
}

/** Hands over to the Temporal CLI, pointed at the running engines unless TEMPORAL_ADDRESS says otherwise. */
async function temporal(args: readonly string[]): Promise<number> {
  const servers = await runningServers(process.env.ENGINES_DATA ?? defaultData);
  const port = servers.find(({ id, alive }) => id === 'temporal' && alive)?.ports.grpc;
  const address = process.env.TEMPORAL_ADDRESS ?? (port === undefined ? undefined : `127.0.0.1:${port}`);
  const cli = await findTemporalCli(new Progress(log));
  // Ctrl-C reaches the CLI from the terminal; it decides what to do, and its exit code is ours.
  process.on('SIGINT', () => undefined);
  const { exitCode, signal } = await execa(cli, args, {
    stdio: 'inherit',
    reject: false,
    ...(address === undefined ? {} : { env: { TEMPORAL_ADDRESS: address } }),
  });
  return exitCode ?? 128 + (signal === undefined ? 1 : constants.signals[signal]);
}

/** The person asked to stop. */
class Interrupted extends Error {
  override readonly name = 'Interrupted';

  constructor(readonly signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
    super(`ended by ${signal}`);
  }
}

function commands(): Command {
  const data = () =>
    new Option('--data <folder>', 'where state, data and logs live').env('ENGINES_DATA').default(defaultData);
  const program = new Command('engines').description('Temporal, Kafka and OwlMQ on this machine.');
  program
    .command('up')
    .description(
      'Start what is not running yet: engines, worker and sample traffic. Engines given by TEMPORAL_ADDRESS, KAFKA_BROKERS or OWLMQ_URL are used as they are.',
    )
    .addOption(data())
    .option('--no-worker', 'do not start the worker')
    .option('--no-traffic', 'do not start sample producers and consumers')
    .action(up);
  program
    .command('down')
    .description('Stop all that `up` has started. The data stays.')
    .addOption(data())
    .option('--reset', 'drop the data too', false)
    .action(async ({ data: folder, reset }: { data: string; reset: boolean }) => {
      await stopEngines(folder, { reset, log });
      log(reset ? `${folder} is removed.` : 'Nothing runs. The data stays for the next `npm run up`.');
    });
  program
    .command('status')
    .description('Show what runs; exit code 1 when nothing does, or something has ended by itself.')
    .addOption(data())
    .option('--json', 'for programs', false)
    .action(status);
  program
    .command('temporal')
    .description('Run the Temporal CLI against the running engines; all arguments are its own.')
    .helpOption(false)
    .allowUnknownOption()
    .argument('[args...]')
    .action(async () => {
      process.exitCode = await temporal(process.argv.slice(3));
    });
  return program;
}

const expected = [EngineUnavailableError, EngineStartError, EngineConfigError, DiskFullError, FolderBusyError];

try {
  await commands().parseAsync();
} catch (error) {
  if (error instanceof Interrupted) {
    log('Nothing is left running.');
    process.exitCode = 128 + constants.signals[error.signal];
  } else if (expected.some((type) => error instanceof type)) {
    log(`\n${(error as Error).message}`);
    process.exitCode = 1;
  } else if (hasCode(error, 'ENOSPC')) {
    log('\nThe disk is full.');
    process.exitCode = 1;
  } else {
    throw error;
  }
}
