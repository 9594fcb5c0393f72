import { PassThrough } from 'node:stream';
import { defaultPayloadConverter, type Headers } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { stepInLogs, temporalLog } from '../src/worker-log.js';
import { PHASE_HEADER } from '../src/workflows/phase-header.js';

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
    { attempt: 1, phase: 'ramp', epoch: 4 },
  ],
  [{ migration: 'm' }, { attempt: 1, phase: 'ramp' }],
  ['text', { attempt: 1, phase: 'ramp' }],
])('says in which phase a step is, and which epoch it is about, where it is about one', async (request, expected) => {
  const { inbound, outbound } = stepInLogs(new MockActivityEnvironment().context);
  const logged = async (headers: Headers): Promise<unknown> => {
    await inbound?.execute?.({ args: [request], headers }, () => Promise.resolve(undefined));
    return outbound?.getLogAttributes?.({ attempt: 1 }, (attributes) => attributes);
  };
  expect(await logged({ [PHASE_HEADER]: defaultPayloadConverter.toPayload('ramp') })).toEqual(expected);
  const { phase: _, ...withoutPhase } = expected;
  expect(await logged({})).toEqual(withoutPhase);
});
