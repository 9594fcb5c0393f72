import { WorkflowUpdateFailedError } from '@temporalio/client';
import { expect, it } from 'vitest';
import type { WatchSoakRequest } from '../../src/activities/migration-activities.js';
import type { AcknowledgeInput } from '../../src/workflows/acknowledgements.js';
import { acknowledgeUpdate, revokeUpdate } from '../../src/workflows/messages.js';
import { newModel, readStatus, run, untilStatus, usePlaybook, type Handle } from './playbook-fixture.js';

usePlaybook();

const known: AcknowledgeInput = {
  group: 'payments',
  verdict: 'different',
  topic: 'orders',
  fields: ['/total'],
  reason: 'rounds to cents on purpose',
  by: 'ann',
};

async function acknowledge(handle: Handle, change: Record<string, unknown> = {}): Promise<string> {
  return await handle.executeUpdate(acknowledgeUpdate, { args: [{ ...known, ...change } as AcknowledgeInput] });
}

async function refusal(attempt: Promise<string>): Promise<string> {
  const error = await attempt.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  return String((error as WorkflowUpdateFailedError).cause?.message);
}

it('counts acknowledged discrepancies apart until that is revoked', async () => {
  const model = newModel();
  const patterns = (nth: number) => (model.named('watchSoak')[nth - 1]?.argument as WatchSoakRequest).acknowledged;
  await run(
    {
      model,
      before: async ({ activity }, nth, handle) => {
        if (activity !== 'watchSoak') return;
        if (nth === 5) model.discrepancies = 1;
        if (nth === 8) {
          expect((await readStatus(handle)).soak.restarts).toBe(1);
          expect(await acknowledge(handle)).toContain('ack-1');
        }
        // Known from here on: counted apart, the clock goes on.
        if (nth === 10) model.acknowledgedDiscrepancies = 3;
        if (nth === 15) {
          await handle.executeUpdate(revokeUpdate, { args: [{ id: 'ack-1', reason: 'mended', by: 'bob' }] });
        }
        if (nth === 18) model.discrepancies = 2;
      },
    },
    async (handle) => {
      const status = await handle.result();
      expect(status.phase).toBe('completed');
      expect(status.soak.restarts).toBe(2);
      const { reason, by, ...pattern } = known;
      expect(status.soak.acknowledgements).toMatchObject([
        { id: 'ack-1', pattern, reason, by, revoked: { reason: 'mended', by: 'bob' } },
      ]);
      expect(status.groupVerdicts['payments']).toMatchObject({ acknowledged: 3, discrepancies: 2 });
      expect(patterns(8)).toEqual([]);
      expect(patterns(10)).toEqual([pattern]);
      expect(patterns(17)).toEqual([]);
      expect(status.log.map(({ text }) => text).join('\n')).toMatch(
        /ack-1: ann acknowledges.*\/total[^]*ack-1 revoked by bob/,
      );
    },
  );
});

it('refuses what is incomplete, unknown or too late, with every problem at once', async () => {
  let asked = false;
  await run(
    {
      before: async ({ activity }, _nth, handle) => {
        if (activity !== 'watchSoak' || asked) return;
        asked = true;
        const said = await refusal(
          acknowledge(handle, { group: 'other', verdict: 'matched', topic: 'x', fields: ['total'], by: '', fieldz: 1 }),
        );
        for (const part of ['group must', 'verdict must', 'topic must', 'fields must', 'by must', 'fieldz']) {
          expect(said).toContain(part);
        }
        expect(await refusal(acknowledge(handle, { verdict: 'missing' }))).toContain('fields are told of');
        const unknown = handle.executeUpdate(revokeUpdate, { args: [{ id: 'ack-9', reason: 'x', by: 'ann' }] });
        expect(await refusal(unknown)).toContain('none is');
      },
    },
    async (handle, model) => {
      expect((await handle.result()).soak.acknowledgements).toEqual([]);
      expect(model.named('watchSoak').length).toBeGreaterThan(0);
    },
  );
});

it('carries acknowledgements over to the run that continues', async () => {
  const model = newModel();
  const pattern = { group: 'payments', verdict: 'missing' } as const;
  await run(
    {
      model,
      before: async ({ activity }, nth, handle) => {
        if (activity === 'watchSoak' && nth === 2)
          await acknowledge(handle, { topic: undefined, fields: undefined, ...pattern });
      },
    },
    async (handle) => {
      await untilStatus(handle, ({ soak }) => soak.acknowledgements.length === 1, 0);
      await handle.result();
      const status = await readStatus(handle);
      // The state is what is handed over: it holds the whole of it as JSON.
      expect(JSON.parse(JSON.stringify(status.soak.acknowledgements))).toMatchObject([{ id: 'ack-1', pattern }]);
    },
  );
});
