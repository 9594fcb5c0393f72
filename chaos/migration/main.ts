#!/usr/bin/env node
import { positive } from '../../demo/command-line.js';
import { chaosCommand } from '../command.js';
import { longPace, withSoak } from './pace.js';
import { reportText } from './report.js';
import { runMigrations, type MigrationChaosOptions } from './run.js';

await chaosCommand({
  name: 'chaos',
  description: 'Whole migrations under traffic and seeded faults, one after the other, on engines of its own.',
  options: (program) =>
    program
      .option('--rate <n>', 'messages a second of all producers together', positive, 400)
      .option('--soak <seconds>', 'clean time that each migration needs', positive, 40),
  run: (basics, { rate, soak }: Pick<MigrationChaosOptions, 'rate'> & { soak: number }) =>
    runMigrations({ ...basics, rate, pace: withSoak(longPace, soak * 1_000) }),
  text: reportText,
});
