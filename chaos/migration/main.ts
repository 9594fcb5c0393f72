#!/usr/bin/env node
import { positive } from '../../demo/command-line.js';
import { chaosCommand } from '../command.js';
import { longPace } from './pace.js';
import { reportText } from './report.js';
import { runMigrations, type MigrationChaosOptions } from './run.js';

await chaosCommand({
  name: 'chaos',
  description: 'Whole migrations under traffic and seeded faults, one after the other, on engines of its own.',
  options: (program) => program.option('--rate <n>', 'messages a second of all producers together', positive, 400),
  run: (basics, { rate }: Pick<MigrationChaosOptions, 'rate'>) => runMigrations({ ...basics, rate, pace: longPace }),
  text: reportText,
});
