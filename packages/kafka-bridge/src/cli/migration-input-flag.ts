import type { Option } from 'commander';
import { option } from './connections.js';

/** The flag that `readMigrationInput` reads; apart from it, so that a command's help loads no schema. */
export function migrationInputFlag(): Option {
  return option('--input <file>', "the workflow's input, JSON; - for standard input", 'KAFKA_BRIDGE_INPUT');
}
