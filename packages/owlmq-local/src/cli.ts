import { Command, InvalidArgumentError, Option } from 'commander';
import { destination, pino } from 'pino';
import { loadApiKeys } from './api-keys.js';
import { OwlmqLocalConfigError } from './config-error.js';
import { startOwlmqLocal } from './index.js';
import { DEFAULT_LIMITS } from './limits.js';

interface CliOptions {
  host: string;
  port: number;
  data: string;
  apiKeysFile?: string;
  logLevel: string;
  maxBatchRecords: number;
  maxBatchBytes: number;
  maxRecordBytes: number;
  maxInflightBytes: number;
}

const STORAGE_FAILED_EXIT_CODE = 3;

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`must be a whole number from ${least} to ${most}`);
  };
}

function option(flags: string, description: string, env: string): Option {
  return new Option(flags, description).env(env);
}

function limit(flags: string, description: string, env: string, fallback: number): Option {
  return option(flags, description, env)
    .default(fallback)
    .argParser(wholeNumber(1, 2 ** 30));
}

const program = new Command('owlmq-local')
  .description('A local, durable OwlMQ: one HTTP server that keeps the contract of openapi/owlmq.yaml.')
  .addOption(option('--host <address>', 'address to listen on', 'OWLMQ_LOCAL_HOST').default('127.0.0.1'))
  .addOption(
    option('--port <port>', 'port to listen on; 0 takes a free one', 'OWLMQ_LOCAL_PORT')
      .default(8686)
      .argParser(wholeNumber(0, 65535)),
  )
  .addOption(option('--data <folder>', 'folder of the data', 'OWLMQ_LOCAL_DATA').default('owlmq-data'))
  .addOption(option('--api-keys-file <file>', 'file with one API key a line', 'OWLMQ_API_KEYS_FILE'))
  .addOption(
    option('--log-level <level>', 'what to log', 'OWLMQ_LOCAL_LOG_LEVEL')
      .default('info')
      .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  )
  .addOption(
    limit(
      '--max-batch-records <n>',
      'records in a publish request',
      'OWLMQ_LOCAL_MAX_BATCH_RECORDS',
      DEFAULT_LIMITS.maxBatchRecords,
    ),
  )
  .addOption(
    limit(
      '--max-batch-bytes <n>',
      'bytes of a request body',
      'OWLMQ_LOCAL_MAX_BATCH_BYTES',
      DEFAULT_LIMITS.maxBatchBytes,
    ),
  )
  .addOption(
    limit('--max-record-bytes <n>', 'bytes of a record', 'OWLMQ_LOCAL_MAX_RECORD_BYTES', DEFAULT_LIMITS.maxRecordBytes),
  )
  .addOption(
    limit(
      '--max-inflight-bytes <n>',
      'bytes of request bodies held at once',
      'OWLMQ_LOCAL_MAX_INFLIGHT_BYTES',
      DEFAULT_LIMITS.maxInflightBytes,
    ),
  )
  .addHelpText(
    'after',
    `
API keys come from OWLMQ_API_KEY, OWLMQ_API_KEYS (a comma list) and --api-keys-file; without one the server does not start.
Once it listens it prints one line of JSON, {"url": …}, on standard output; its log goes to standard error.`,
  );

async function main(): Promise<void> {
  const options = program.parse().opts<CliOptions>();
  const { maxBatchRecords, maxBatchBytes, maxRecordBytes, maxInflightBytes } = options;
  const logger = pino({ level: options.logLevel, base: null }, destination({ dest: 2, sync: true }));
  const server = await startOwlmqLocal({
    host: options.host,
    port: options.port,
    data: options.data,
    apiKeys: loadApiKeys(process.env, options.apiKeysFile),
    limits: { maxBatchRecords, maxBatchBytes, maxRecordBytes, maxInflightBytes },
    logger,
    processMetrics: true,
    onStorageFailure: () => {
      // Answers under way still go out; whoever supervises the process may start it again.
      process.exitCode = STORAGE_FAILED_EXIT_CODE;
      process.kill(process.pid, 'SIGTERM');
    },
  });
  process.stdout.write(`${JSON.stringify({ url: server.url, data: options.data, pid: process.pid })}\n`);

  const stop = (signal: NodeJS.Signals): void => {
    logger.info({ signal }, 'stopping');
    server.close().catch((error: unknown) => {
      logger.error({ err: error }, 'could not stop cleanly');
      process.exitCode = 1;
    });
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

main().catch((error: unknown) => {
  const expected = error instanceof OwlmqLocalConfigError;
  process.stderr.write(
    `owlmq-local: ${expected ? error.message : String(error instanceof Error ? (error.stack ?? error.message) : error)}\n`,
  );
  process.exitCode = expected ? 2 : 1;
});
