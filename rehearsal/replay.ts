#!/usr/bin/env node
import { Client, isGrpcServiceError } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { Command } from 'commander';
import { runProgram, untilInterrupted } from '../demo/command-line.js';
import { encryptionFromEnvironment } from '../src/codec/data-converter.js';
import { SettingsError } from '../src/settings.js';
import { connectToTemporal } from '../src/temporal-connection.js';
import { workflowBundlePath } from '../src/workflow-bundle-path.js';
import { NoSuchMigrationError } from './evidence/recorded-migration.js';
import { installQuietRuntime } from './quiet-runtime.js';
import { findMismatch } from './reset-point.js';

const log = (line: string): void => {
  console.error(line);
};

/** Of gRPC. */
const NOT_FOUND = 5;
/** A mismatch was found. */
const FOUND = 3;

async function main({ workflowId, signal }: { workflowId: string; signal: AbortSignal }): Promise<void> {
  const temporal = loadClientConnectConfig();
  const encryption = encryptionFromEnvironment(process.env, 'replay');
  const { connection, close } = await connectToTemporal(temporal.connectionOptions);
  try {
    const client = new Client({ connection, namespace: temporal.namespace ?? 'default' });
    const history = await client.workflow
      .getHandle(workflowId)
      .fetchHistory()
      .catch((error: unknown) => {
        const code: number | undefined = isGrpcServiceError(error) ? error.code : undefined;
        if (code !== NOT_FOUND) throw error;
        throw new NoSuchMigrationError(`There is no workflow ${workflowId} in this namespace.`);
      });
    signal.throwIfAborted();
    installQuietRuntime();
    const options = {
      workflowBundle: { codePath: workflowBundlePath(encryption !== undefined) },
      ...(encryption && { dataConverter: encryption.dataConverter }),
    };
    const mismatch = await findMismatch(options, history, workflowId);
    if (mismatch === undefined) {
      console.log(`${workflowId}: this code decides all that its ${history.events?.length ?? 0} events tell.`);
      return;
    }
    const { at, message } = mismatch;
    console.log(`${workflowId}: this code does not decide what task ${at} of the history did: ${message}`);
    console.log(
      'If the workers run other code than this, replay there. If they run this, begin the run anew from before it:',
    );
    console.log(`  temporal workflow reset --workflow-id ${workflowId} --event-id ${at} --reason 'replay fails'`);
    process.exitCode = FOUND;
  } finally {
    await close();
  }
}

const signal = untilInterrupted(log);
const program = new Command('replay')
  .description('Replays a run on the workflow code of this checkout, as a worker with it would. Changes nothing.')
  .requiredOption('--workflow-id <id>', 'the migration, or the portfolio')
  .action(({ workflowId }: { workflowId: string }) => main({ workflowId, signal }));

await runProgram(program, { signal, expected: [NoSuchMigrationError, SettingsError], log });
