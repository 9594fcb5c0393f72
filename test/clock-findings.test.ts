import type { RosterEntry } from '@owlmq/kafka-bridge/operations';
import { expect, it } from 'vitest';
import { clockFindings } from '../src/activities/clock-findings.js';

const now = Date.parse('2026-01-01T12:00:00Z');

/** A member whose report came a second ago, and whose clock is off. */
function member(offMs: number, change: object = {}): RosterEntry {
  const report = { role: 'publisher', instance: 'checkout-1', state: 'publishing', leaseMs: 10_000 };
  const at = new Date(now - 1_000 + offMs).toISOString();
  return { report: { ...report, at, ...change }, silentMs: 1_000, fresh: true } as unknown as RosterEntry;
}

it('tells of members whose clocks are off, and how far', () => {
  expect(clockFindings([member(0), member(-300), member(1_900)], now)).toEqual([]);
  const [ahead, behind] = clockFindings([member(90_000), member(-7_200_000)], now);
  expect(ahead).toMatchObject({
    kind: 'warning',
    what: "The clock of publisher checkout-1 is 2 minutes ahead of this worker's.",
  });
  expect(behind?.what).toContain('2 hours behind');
});

it('says nothing of members that have left, nor of reports that were there before', () => {
  expect(clockFindings([member(90_000, { state: 'left' })], now)).toEqual([]);
  expect(clockFindings([{ ...member(-90_000), fresh: false }], now)).toEqual([]);
});
