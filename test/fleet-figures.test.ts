import type { RosterEntry } from '@owlmq/kafka-bridge/operations';
import { expect, it } from 'vitest';
import { fleetFigures } from '../src/fleet-meter.js';

const base = { version: 1, migration: 'm', leaseMs: 10_000, at: '2026-01-01T00:00:00Z' } as const;

function publisher(instance: string, epoch: number, silentMs: number, longestHoldMs = 0): RosterEntry {
  return {
    silentMs,
    report: {
      ...{ ...base, instance, epoch, role: 'publisher', state: 'fenced', inFlight: 0, held: 3, longestHoldMs },
      ...{ backlog: 5, dropped: 0, owlmqLatencyMs: 40, oldestCopyMs: 2_000, mirrorDegraded: true, topics: [] },
      ...{ kafka: { messages: 1, bytes: 1 }, owlmq: { messages: 1, bytes: 1 } },
    },
  };
}

function consumer(instance: string, state: 'live-kafka' | 'left'): RosterEntry {
  return {
    silentMs: 0,
    report: {
      ...{ ...base, instance, epoch: 7, role: 'consumer', group: 'g', state, shadow: false, live: {} },
      ...{ watermarks: { live: {}, shadow: {} }, applied: 1, failed: 0 },
    },
  };
}

it('counts members that are heard of apart from those that are silent, and none that has left', () => {
  const found = fleetFigures([
    publisher('a', 7, 0, 1_500),
    publisher('b', 6, 100, 900),
    publisher('c', 5, 10_001, 60_000),
    consumer('d', 'live-kafka'),
    consumer('e', 'left'),
  ]);
  const values = Object.values(found).map(({ labels, value }) => ({ ...labels, value }));
  const of = (name: string) =>
    Object.entries(found).flatMap(([key, { value }]) => (key.startsWith(`${name} `) ? [value] : []));
  expect(values).toContainEqual({ migration: 'm', role: 'publisher', group: '', state: 'fenced', value: 2 });
  expect(values).toContainEqual({ migration: 'm', role: 'publisher', group: '', state: 'silent', value: 1 });
  expect(values).toContainEqual({ migration: 'm', role: 'consumer', group: 'g', state: 'live-kafka', value: 1 });
  expect(of('members')).toHaveLength(3);
  // The silent one holds nothing that anybody knows of, and is not waited for.
  expect(of('members_behind')).toEqual([1]);
  expect(of('members_epoch')).toEqual([7]);
  expect(of('publishers_held_calls')).toEqual([6]);
  expect(of('publishers_longest_hold_seconds')).toEqual([1.5]);
  expect(of('publishers_oldest_copy_seconds')).toEqual([2]);
  expect(of('publishers_mirror_degraded')).toEqual([2]);
});
