import type { Command } from 'commander';
import { option } from '../connections.js';

/** Flags that say whose discrepancies are meant. */
export function withMigration(command: Command): Command {
  return command
    .addOption(option('--migration <name>', 'the migration: its workflow id', 'KAFKA_BRIDGE_MIGRATION'))
    .addOption(option('--group <name>', 'of this group alone', 'KAFKA_BRIDGE_GROUP'));
}
