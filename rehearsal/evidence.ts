#!/usr/bin/env node
import { Client } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { Command } from 'commander';
import { runProgram, untilInterrupted } from '../demo/command-line.js';
import { encryptionFromEnvironment } from '../src/codec/data-converter.js';
import { SettingsError } from '../src/settings.js';
import { connectToTemporal } from '../src/temporal-connection.js';
import { NoSuchMigrationError, readMigration } from './evidence/recorded-migration.js';
import { migrationReport, readVersions, writeReport } from './evidence/report.js';

interface EvidenceCommand {
  workflowId: string;
  out: string;
  json: boolean;
}

const log = (line: string): void => {
  console.error(line);
};

async function main({ workflowId, out, json }: EvidenceCommand): Promise<void> {
  const temporal = loadClientConnectConfig();
  const encryption = encryptionFromEnvironment(process.env, 'report');
  const { connection, close } = await connectToTemporal(temporal.connectionOptions);
  try {
    const namespace = temporal.namespace ?? 'default';
    const client = new Client({
      connection,
      namespace,
      ...(encryption && { dataConverter: encryption.dataConverter }),
    });
    const migration = await readMigration(client, workflowId, encryption?.codec);
    const report = migrationReport(migration, await readVersions());
    const files = await writeReport(out, `evidence-${workflowId.replaceAll(/[^A-Za-z0-9._-]/g, '_')}`, report);
    log(files.join(', '));
    const { noStatus } = report.evidence;
    if (noStatus !== null) log(`The report is without the status: ${noStatus}`);
    if (json) console.log(JSON.stringify(report, null, 2));
  } finally {
    await close();
  }
}

const signal = untilInterrupted(log);
const program = new Command('evidence')
  .description('Writes what a migration did, by its history and status in Temporal, for a change record.')
  .requiredOption('--workflow-id <id>', 'the migration')
  .option('--out <folder>', 'where the Markdown and the JSON are written', '.')
  .option('--json', 'print the report to standard output too', false)
  .action((options: EvidenceCommand) =>
    Promise.race([
      main(options),
      new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
      }),
    ]),
  );

await runProgram(program, { signal, expected: [NoSuchMigrationError, SettingsError], log });
