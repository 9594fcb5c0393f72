import { setTimeout as realTime } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { type MigrationInput, parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import type { FleetFigures, WatchAuditRequest, WatchSoakRequest } from '../../src/activities/migration-activities.js';
import { newMigrationState } from '../../src/workflows/migration-state.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import type { FleetModel, ModelCall } from '../../rehearsal/fleet-model.js';
import {
  askRollback,
  type Handle,
  inSoak,
  newModel,
  onSkippedTime,
  readStatus,
  run,
  skip,
  untilStatus,
  usePlaybook,
} from './playbook-fixture.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** For runs that end with the ramp: audits beside it have slices of three minutes. */
const input: MigrationInput = {
  topics: ['orders'],
  groups: ['payments'],
  ramp: { step: 0.5, interval: '1 hour' },
  soak: { duration: '1 hour', minComparisons: 1 },
  decommission: 'automatic',
};
/** For runs that go through every phase: as few slices as there can be. */
const brief: MigrationInput = {
  ...input,
  ramp: { step: 1, interval: '5 seconds' },
  soak: { duration: '1 second', minComparisons: 1 },
  warm: { duration: '1 second' },
};
const slow: Partial<FleetFigures> = { latencyMs: 9_000 };

usePlaybook();

function ratios(model: FleetModel): number[] {
  return model.routing.map(({ ratio }) => ratio);
}

function actions({ ramp }: MigrationStatus): (string | number)[][] {
  return (ramp?.lastActions ?? []).map(({ ratio, action }) => [ratio, action]);
}

/**
 * Skips time until an activity was called so many times. The server loses count at times of an activity that was
 * cancelled, and then skips only when it is asked once more.
 */
async function skipUntilCalled(model: FleetModel, activity: string, calls: number): Promise<void> {
  for (let attempt = 0; model.named(activity).length < calls; attempt += 1) {
    if (attempt === 40) throw new Error(`${activity} was called ${model.named(activity).length} times of ${calls}`);
    // One that is not answered ends with the server.
    await Promise.race([skip(HOUR).catch(() => undefined), realTime(3_000)]);
  }
}

/** Ends a run once its ramp is through. */
async function endAfterRamp({ activity }: ModelCall, nth: number, handle: Handle): Promise<void> {
  if (activity === 'watchSoak' && nth === 1) await askRollback(handle, { reason: 'the test is over' });
}

/** Ends a run whose point has been made. */
async function endBy(handle: Handle): Promise<void> {
  await handle.signal('rollback', 'the test is over');
  expect((await handle.result()).phase).toBe('rolled-back');
}

describe('a step of the ramp that fails', onSkippedTime, () => {
  it('is held without waiting for the end of its interval, and judged again', async () => {
    const model = newModel();
    let judged = 0;
    model.fleet = () => (judged++ === 0 ? slow : {});
    await run({ model, input, before: endAfterRamp, record: 'ramp-held-once' }, async (handle) => {
      const status = await handle.result();
      expect(ratios(model).slice(0, 3)).toEqual([0, 0.5, 1]);
      expect(actions(status)).toEqual([
        [0.5, 'hold'],
        [0.5, 'promote'],
        [1, 'finish'],
      ]);
      expect(status.ramp?.lastActions[0]?.why).toContain('OwlMQ took up to 9,000 ms');
      const [failed, again] = model.named('watchFleet').map(({ at }) => at);
      // A minute until the figure counts, five to settle, and not an hour.
      expect((again ?? 0) - (failed ?? 0)).toBeGreaterThanOrEqual(6 * MINUTE);
      expect((again ?? 0) - (failed ?? 0)).toBeLessThan(HOUR);
      expect(status.log.some(({ text }) => text.includes('ratio 50%: gates passed: '))).toBe(true);
    });
  });

  it('steps back, blocks when it fails there too, and a ratio set by hand begins anew', async () => {
    const model = newModel();
    let broken = true;
    model.fleet = () => (broken && (model.lastRouting?.ratio ?? 0) >= 0.5 ? slow : {});
    await run({ model, input }, async (handle) => {
      const status = await untilStatus(handle, ({ blocked }) => blocked !== null);
      expect(actions(status)).toEqual([
        [0.5, 'hold'],
        [0.5, 'step back'],
        [0, 'promote'],
        [0.5, 'hold'],
        [0.5, 'block'],
      ]);
      expect(ratios(model)).toEqual([0, 0.5, 0, 0.5]);
      expect(status.blocked?.cause).toContain('OwlMQ took up to 9,000 ms');
      expect(status.ramp).toMatchObject({ step: 0.5, verdict: 'failure', stepBacks: 1 });
      expect(status.ramp?.metrics.find(({ name }) => name === 'OwlMQ latency')).toMatchObject({
        value: 9_000,
        limit: 2_000,
        verdict: 'failure',
      });
      broken = false;
      // No resume is needed.
      await handle.executeUpdate('setRatio', { args: [{ ratio: 0.2 }] });
      const after = await untilStatus(handle, ({ ratio }) => ratio.acknowledged === 0.2);
      expect(after.blocked).toBeNull();
      expect(after.ramp).toMatchObject({ attempts: 0, stepBacks: 0 });
      await endBy(handle);
    });
  });

  it('goes back to Kafka where the input says so', async () => {
    const model = newModel();
    model.fleet = { cutOff: ['publisher-1'] };
    const onFailure = { holds: 0, stepBacks: 0, then: 'rollback' } as const;
    await run({ model, input: { ...input, ramp: { ...input.ramp, onFailure } } }, async (handle) => {
      const status = await handle.result();
      expect(status.phase).toBe('rolled-back');
      expect(status.rollback).toMatchObject({ by: 'the ramp policy', from: 'dual-write' });
      expect(status.rollback?.reason).toContain('publisher-1');
      expect(ratios(model)).toEqual([0, 0.5, 0]);
    });
  });

  it('is found by the audit too, before its interval is over', async () => {
    const model = newModel();
    model.missing = 50;
    await run({ model, input }, async (handle) => {
      const status = await untilStatus(handle, ({ ramp }) => ramp?.verdict === 'failure', MINUTE);
      expect(status.ramp?.reason).toContain('were missing after the grace');
      const [watch] = model.named('watchFleet');
      expect(Date.parse(status.ramp?.judgedAt ?? '') - (watch?.at ?? 0)).toBeLessThan(HOUR / 2);
      await endBy(handle);
    });
  });
});

describe('a step of the ramp that cannot be judged', onSkippedTime, () => {
  it('is held for days without traffic, says so, and goes on once there is some', async () => {
    const model = newModel();
    model.traffic = 0;
    const patient = { ...input, ramp: { step: 0.5, interval: '12 hours' } };
    await run({ model, input: { ...patient, soak: { duration: '200 hours' } } }, async (handle) => {
      await untilStatus(handle, ({ ramp }) => ramp !== null);
      await skip(50 * HOUR);
      const status = await readStatus(handle);
      expect(status.phase).toBe('dual-write');
      expect(ratios(model)).toEqual([0, 0.5]);
      expect(status.ramp).toMatchObject({ verdict: 'inconclusive', step: 0.5 });
      expect(status.ramp?.attempts).toBeGreaterThanOrEqual(4);
      expect(status.ramp?.inconclusiveSince).not.toBeNull();
      expect(status.attention?.what).toContain('no messages were published');
      expect(status.blocked).toBeNull();
      model.traffic = 100;
      const after = await untilStatus(handle, ({ ratio }) => ratio.acknowledged === 1);
      expect(after.attention).toBeNull();
      await endBy(handle);
    });
  });

  it('blocks after errors in a row, not at the first, and goes on after resume', async () => {
    let broken = 4;
    const model = newModel();
    await run(
      {
        model,
        input,
        before: async (call, nth, handle) => {
          await endAfterRamp(call, nth, handle);
          if (call.activity !== 'watchFleet' || broken === 0) return;
          broken -= 1;
          throw ApplicationFailure.nonRetryable('the members topic cannot be read');
        },
      },
      async (handle) => {
        const status = await untilStatus(handle, ({ blocked }) => blocked !== null);
        expect(model.named('watchFleet')).toHaveLength(3);
        expect(actions(status)).toEqual([
          [0.5, 'hold'],
          [0.5, 'hold'],
          [0.5, 'block'],
        ]);
        expect(status.blocked?.cause).toContain('the members topic cannot be read');
        await handle.signal('resume');
        expect((await handle.result()).ratio).toEqual({ wanted: 0, acknowledged: 0 });
        expect(ratios(model)).toEqual([0, 0.5, 1, 1, 1, 0]);
        expect(broken).toBe(0);
      },
    );
  });

  it('blocks at once when the audit has failed closed, with the cause', async () => {
    let lost = true;
    const model = newModel();
    await run(
      {
        model,
        input,
        before: async (call, nth, handle) => {
          await endAfterRamp(call, nth, handle);
          if (call.activity !== 'watchAudit' || !lost) return;
          throw ApplicationFailure.nonRetryable(
            'kafka orders/1: position 5 is outside of the log',
            'AuditFailedClosed',
          );
        },
      },
      async (handle) => {
        const status = await untilStatus(handle, ({ blocked }) => blocked !== null, 0);
        expect(status.blocked).toMatchObject({
          step: 'audit',
          cause: 'kafka orders/1: position 5 is outside of the log',
        });
        expect(status.blocked?.todo).toContain('retention');
        lost = false;
        await handle.signal('resume');
        const after = await handle.result();
        expect(Math.max(...ratios(model))).toBe(1);
        // What was seen before does not count as judged.
        expect(after.ramp?.lastActions[0]).toMatchObject({ ratio: 0.5, action: 'hold' });
      },
    );
  });
});

describe('a pause', onSkippedTime, () => {
  // Slices of two hours.
  const forwarding: MigrationInput = { ...input, forward: ['orders'], soak: { duration: '40 hours' } };

  it('of the ramp freezes the step, while foreign records go on being forwarded under its ratio', async () => {
    const model = newModel();
    model.foreign = { orders: 3 };
    await run(
      {
        model,
        input: forwarding,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchFleet' || nth !== 1) return;
          await handle.signal('pause', 'lunch');
          await untilStatus(handle, ({ paused }) => paused !== null, 0);
        },
      },
      async (handle) => {
        await untilStatus(handle, ({ waiting }) => waiting?.for === 'the resume signal', 0);
        const before = model.named('watchAudit').length;
        await skipUntilCalled(model, 'watchAudit', before + 4);
        const audits = model.named('watchAudit').slice(before);
        for (const { argument } of audits) {
          expect((argument as WatchAuditRequest).forward).toEqual({ topics: ['orders'], ratio: 0.5 });
        }
        expect(ratios(model)).toEqual([0, 0.5]);
        const status = await readStatus(handle);
        expect(status.ramp?.nextJudgement).toBeNull();
        expect(status.foreign['orders']?.forwarded).toBeGreaterThan(0);
        await handle.signal('resume');
        const resumedAt = await model.clock.now();
        await untilStatus(handle, ({ ratio }) => ratio.acknowledged === 1);
        const promoted = model.named('applyRouting').at(2)?.at ?? 0;
        expect(promoted - resumedAt).toBeGreaterThan(0.7 * HOUR);
        await endBy(handle);
      },
    );
  });

  it('of the soak does not end the forwarding', async () => {
    const model = newModel();
    await run(
      {
        model,
        input: forwarding,
        carried: inSoak(forwarding),
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchSoak' || nth !== 1) return;
          await handle.signal('pause');
          await untilStatus(handle, ({ paused }) => paused !== null, 0);
        },
      },
      async (handle) => {
        await untilStatus(handle, ({ waiting }) => waiting?.for === 'the resume signal', 0);
        const { raw } = await handle.describe();
        const running = (raw.pendingActivities ?? []).map(({ activityType }) => activityType?.name);
        expect(running).toEqual(['watchAudit']);
        expect(model.named('watchAudit').at(-1)?.argument).toMatchObject({ forward: { topics: ['orders'], ratio: 1 } });
        await endBy(handle);
      },
    );
  });

  it('between two attempts of a watch is not taken for a cancel of the migration', async () => {
    await run(
      {
        input,
        carried: inSoak(input),
        before: ({ activity }) => {
          if (activity === 'watchSoak') throw new Error('Kafka does not answer');
        },
      },
      async (handle) => {
        await skip(5_000);
        await handle.signal('pause');
        const status = await untilStatus(handle, ({ waiting }) => waiting?.for === 'the resume signal', 0);
        expect(status.rollback).toBeNull();
        expect(status.phase).toBe('shadow-soak');
        await endBy(handle);
      },
    );
  });
});

describe('producers without the library', onSkippedTime, () => {
  it('whose topic is forwarded do not stand in the way of the cutover, but of the decommission', async () => {
    const model = newModel();
    model.foreign = { orders: 5 };
    model.overrun = 3;
    let refused: string | undefined;
    await run(
      {
        record: 'forwarded',
        model,
        input: { ...brief, forward: ['orders'] },
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchWarm') return;
          const { phase, waiting } = await readStatus(handle);
          if (phase !== 'decommission') return;
          refused ??= waiting?.for;
          if (nth >= 4) model.foreign = {};
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(model.routing[1]?.forward).toEqual(['orders']);
        expect(refused).toContain('producers without the library to stop');
        expect(refused).toMatch(/orders \(\d+ records/);
        expect(model.named('watchWarm').length).toBeGreaterThanOrEqual(4);
        expect(status.foreign['orders']).toMatchObject({ forward: true });
        // The window's audit goes up to where groups have stopped; where all of them are known to be stays lower.
        const { drained, fences } = status.cutover;
        expect(fences?.kafka['orders']).toEqual(drained?.['orders']?.map((offset) => offset + 3));
        const proof = model.named('auditToOwlmq').at(-1)?.argument;
        expect(proof).toMatchObject({ until: fences?.kafka });
      },
    );
  });

  it('whose topic is not forwarded do', async () => {
    const model = newModel();
    model.foreign = { orders: 5 };
    await run(
      {
        model,
        input: brief,
        before: ({ activity }, nth) => {
          if (activity === 'checkReadiness' && nth === 3) model.foreign = {};
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(model.named('checkReadiness').length).toBeGreaterThan(3);
        const notReady = status.log.find(({ text }) => text.startsWith('not ready'));
        expect(notReady?.text).toContain("records without the library's headers in orders");
      },
    );
  });
});

describe('an audit and a comparison in several activities', onSkippedTime, () => {
  it('shares the partitions out, each with its own checkpoint, in every phase', async () => {
    const model = newModel();
    const soak = { ...brief.soak, parallelism: 3 };
    const shared = { ...brief, topics: ['invoices', 'orders'], audit: { parallelism: 3 }, soak };
    await run(
      {
        record: 'audit-in-parts',
        model,
        input: shared,
        before: async ({ activity }, nth, handle) => {
          if (activity === 'watchWarm' && nth === 4) await askRollback(handle, { reason: 'costs' });
        },
      },
      async (handle) => {
        expect((await handle.result()).phase).toBe('rolled-back');
        const parts = [
          { invoices: [0], orders: [1] },
          { invoices: [1], orders: [] },
          { invoices: [], orders: [0] },
        ];
        for (const activity of ['watchAudit', 'auditToOwlmq', 'watchWarm', 'auditToKafka']) {
          const asked = model.named(activity).map(({ argument }) => (argument as WatchAuditRequest).partitions);
          const times = parts.map((part) => asked.filter((one) => isDeepStrictEqual(one, part)).length);
          expect(Math.min(...times), activity).toBeGreaterThan(0);
          // One may begin another slice in the moment in which all are stopped.
          expect(Math.max(...times) - Math.min(...times), activity).toBeLessThanOrEqual(1);
          for (const one of asked) expect(parts, activity).toContainEqual(one);
        }
        const compared = model.named('watchSoak').map(({ argument }) => argument as WatchSoakRequest);
        const slices = [compared.slice(0, 3), compared.slice(3, 6)].map((slice) =>
          slice.sort((one, other) => (one.partitions?.[0] ?? 0) - (other.partitions?.[0] ?? 0)),
        );
        expect(slices[0]).toMatchObject([{ partitions: [0, 3], parts: 3 }, { partitions: [1] }, { partitions: [2] }]);
        for (const { comparison } of slices[0] ?? []) expect(comparison).toBeUndefined();
        for (const { comparison } of slices[1] ?? [])
          expect(comparison).toEqual([[expect.any(Number), expect.any(Number)]]);
        expect(model.named('moveOffsets').at(-1)?.argument).toMatchObject({
          direction: 'to-kafka',
          audited: [{ figures: {} }, { figures: {} }, { figures: {} }],
        });
      },
    );
  });

  it('keeps a run with default durations and two parts below 3,000 events of history', async () => {
    const defaults: MigrationInput = { topics: ['orders'], groups: ['payments'], decommission: 'automatic' };
    await run({ input: { ...defaults, audit: { parallelism: 2 } } }, async (handle) => {
      expect((await handle.result()).phase).toBe('completed');
      const { events } = await handle.fetchHistory();
      console.info(`history events of a default-duration run with two parts: ${events?.length ?? 0}`);
      expect(events?.length ?? 0).toBeLessThan(3_000);
    });
  });

  it('blocks when one of them has failed closed in the soak, while the others go on', async () => {
    const model = newModel();
    const inParts = { ...input, audit: { parallelism: 2 } };
    await run(
      {
        model,
        input: inParts,
        carried: inSoak(inParts),
        before: ({ activity, argument }) => {
          if (activity !== 'watchAudit' || (argument as WatchAuditRequest).partitions?.['orders']?.[0] !== 1) return;
          throw ApplicationFailure.nonRetryable('kafka orders/1: retention has passed it', 'AuditFailedClosed');
        },
      },
      async (handle) => {
        const status = await untilStatus(handle, ({ blocked }) => blocked !== null);
        expect(status.blocked).toMatchObject({ step: 'audit', cause: 'kafka orders/1: retention has passed it' });
        expect(status.auditFailure).toMatchObject({ closed: true });
        const before = model.named('watchAudit').length;
        await skipUntilCalled(model, 'watchAudit', before + 2);
        await endBy(handle);
      },
    );
  });
});

describe('a run that continues one of an earlier version', onSkippedTime, () => {
  it('goes on in the ramp without what has come since', async () => {
    const plan = parseMigrationInput(brief);
    // Of before there were gates, a policy, forwarding and audits in parts.
    const carriedPlan = { ...plan, forward: undefined, ramp: { step: 0.5, interval: 5_000 }, audit: { grace: MINUTE } };
    const state = {
      ...newMigrationState('2026-01-01T00:00:00.000Z'),
      phase: 'dual-write' as const,
      epoch: 3,
      partitions: { orders: 2 },
      ratio: { wanted: 0.5, acknowledged: 0.5, settled: false },
    };
    const model = newModel();
    const carried = { plan: carriedPlan as unknown as typeof plan, state };
    await run({ model, input: brief, carried }, async (handle) => {
      const status = await handle.result();
      expect(status.phase).toBe('completed');
      expect(model.named('preflight')).toEqual([]);
      expect(Math.min(...model.routing.map(({ epoch }) => epoch))).toBe(4);
    });
  });
});
