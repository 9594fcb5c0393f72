import { PassThrough } from 'node:stream';
import { MockActivityEnvironment } from '@temporalio/testing';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { epochInLogs, temporalLog } from '../src/worker-log.js';

it('names the migration in what Temporal logs, and keeps phase and epoch', () => {
  const stream = new PassThrough();
  const log = temporalLog(pino({ level: 'info' }, stream));
  log.info('phase warm', { workflowId: 'm', migration: 'm', phase: 'warm', epoch: 12 });
  log.warn('activity failed', { workflowId: 'm', activityType: 'watchWarm', attempt: 2 });
  log.debug('not told');
  const lines = String(stream.read())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatchObject({ level: 30, msg: 'phase warm', migration: 'm', phase: 'warm', epoch: 12 });
  expect(lines[1]).toMatchObject({ level: 40, migration: 'm', activityType: 'watchWarm', attempt: 2 });
  expect(lines[1]).not.toHaveProperty('workflowId');
});

it.each([
  [
    { migration: 'm', epoch: 4, groups: [] },
    { attempt: 1, epoch: 4 },
  ],
  [{ migration: 'm' }, { attempt: 1 }],
  ['text', { attempt: 1 }],
])('says which epoch a step is about, where it is about one', async (request, expected) => {
  const { inbound, outbound } = epochInLogs(new MockActivityEnvironment().context);
  await inbound?.execute?.({ args: [request], headers: {} }, () => Promise.resolve(undefined));
  expect(outbound?.getLogAttributes?.({ attempt: 1 }, (attributes) => attributes)).toEqual(expected);
});
