import { Client } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { execa } from 'execa';
import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { connectToTemporal, type TemporalConnection } from '../src/temporal-connection.js';
import type { MigrationStatus } from '../src/workflows/status.js';

/** Temporal as a person has it: commands through its CLI; and a connection to follow what they did. */
export class TemporalTrial {
  private constructor(
    private readonly options: { cli: string; address: string; taskQueue: string; migration: string },
    private readonly temporal: TemporalConnection,
    private readonly client: Client,
  ) {}

  static async connect(options: {
    /** Path of the Temporal CLI. */
    cli: string;
    address: string;
    taskQueue: string;
    /** Workflow id. */
    migration: string;
  }): Promise<TemporalTrial> {
    const overrideEnvVars = { ...process.env, TEMPORAL_ADDRESS: options.address } as Record<string, string>;
    const config = loadClientConnectConfig({ overrideEnvVars });
    const temporal = await connectToTemporal(config.connectionOptions);
    const client = new Client({ connection: temporal.connection, namespace: config.namespace ?? 'default' });
    return new TemporalTrial(options, temporal, client);
  }

  /** The command that starts the migration. */
  startCommand(input: MigrationInput): string[] {
    const { taskQueue, migration } = this.options;
    return this.#command('start', [
      ...['--type', 'migrateKafkaToOwlmq', '--task-queue', taskQueue, '--workflow-id', migration],
      ...['--fail-existing', '--input', JSON.stringify(input)],
    ]);
  }

  /** The command that asks for a rollback. */
  rollbackCommand(reason: string): string[] {
    const { migration } = this.options;
    const input = JSON.stringify({ reason, by: 'demo' });
    return this.#command('signal', ['--workflow-id', migration, '--name', 'rollback', '--input', input]);
  }

  /** The command that shows the status. */
  statusCommand(): string[] {
    return this.#command('query', ['--workflow-id', this.options.migration, '--type', 'status']);
  }

  /** Runs a command of the CLI. @throws with what it printed when it fails. */
  async run([file, ...args]: readonly string[]): Promise<void> {
    if (file === undefined) return;
    await execa(file, args, { timeout: 30_000, stdin: 'ignore' });
  }

  async status(): Promise<MigrationStatus> {
    return await this.#handle().query<MigrationStatus>('status');
  }

  /** Resolves when the workflow has ended. @throws when it failed. */
  async result(): Promise<MigrationStatus> {
    return (await this.#handle().result()) as MigrationStatus;
  }

  async historyEvents(): Promise<number> {
    return (await this.#handle().describe()).historyLength;
  }

  async close(): Promise<void> {
    await this.temporal.close();
  }

  #handle() {
    return this.client.workflow.getHandle(this.options.migration);
  }

  #command(name: string, args: readonly string[]): string[] {
    return [this.options.cli, 'workflow', name, '--address', this.options.address, ...args];
  }
}

/** A command as a shell takes it. */
export function shellLine(command: readonly string[]): string {
  return command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
}
