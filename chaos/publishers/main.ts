#!/usr/bin/env node
import { positive } from '../../demo/command-line.js';
import { chaosCommand } from '../command.js';
import { longPace } from './pace.js';
import { reportText } from './report.js';
import { runChaos, type ChaosOptions } from './run.js';

await chaosCommand({
  name: 'chaos-publishers',
  description: 'Publishers in processes of their own under seeded faults, on engines of its own, with a checker.',
  options: (program) =>
    program
      .option('--publishers <n>', 'publisher processes', positive, 3)
      .option('--rate <n>', 'messages a second of all publishers together', positive, 400)
      .option('--no-audit', 'run no audit: the checker must then find copies missing'),
  run: (basics, { publishers, rate, audit }: Pick<ChaosOptions, 'publishers' | 'rate' | 'audit'>) =>
    runChaos({ ...basics, publishers, rate, audit, pace: longPace }),
  text: reportText,
});
