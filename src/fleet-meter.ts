import type { MetricMeter } from '@temporalio/common';
import { isLiving, type MemberRoster, type PublisherReport, type RosterEntry } from '@owlmq/kafka-bridge/operations';

const EVERY_MS = 2_000;
const PREFIX = 'kafka_to_owlmq';

type Counted = Readonly<Record<string, { labels: Record<string, string>; value: number }>>;

/**
 * Puts what members report of themselves into the worker's metrics, every two seconds until it is stopped. It asks
 * nothing of Kafka or Temporal: the roster follows the members anyway.
 *
 * @returns stops it.
 */
export function meterFleet(roster: MemberRoster, meter: MetricMeter): () => void {
  const gauges = new Map(
    Object.entries(descriptions).map(([name, what]) => [
      name,
      meter.createGauge(`${PREFIX}_${name}`, 'float', undefined, what),
    ]),
  );
  let before: Counted = {};
  const timer = setInterval(() => {
    const now = fleetFigures(roster.allMembers());
    // A gauge stays as it was set: of members that are gone there are none.
    for (const [key, { labels }] of Object.entries(before)) {
      if (now[key] === undefined) gauges.get(nameOf(key))?.set(0, labels);
    }
    for (const [key, { labels, value }] of Object.entries(now)) gauges.get(nameOf(key))?.set(value, labels);
    before = now;
  }, EVERY_MS);
  return () => {
    clearInterval(timer);
  };
}

const descriptions = {
  members: 'Members of the fleet that have not left, by role, group and state; silent: not heard of within the lease.',
  members_behind: 'Members heard of within their lease that have not applied the newest epoch that any of them has.',
  members_epoch: 'Newest epoch that a member has applied in full.',
  publishers_held_calls: 'publish() calls that wait for a fence or a lease, of all publishers.',
  publishers_longest_hold_seconds: 'Longest hold of a publish() call since the last fence, of all publishers.',
  publishers_owlmq_latency_seconds: 'Time of a publish request to OwlMQ, p99 of the slowest publisher.',
  publishers_backlog_copies: 'Copies that wait for OwlMQ, of the publisher that has most.',
  publishers_oldest_copy_seconds: 'Age of the oldest copy that waits for OwlMQ, of all publishers.',
  publishers_mirror_degraded: 'Publishers whose other leg lacks copies while they do not reach it.',
} as const;

/** Takes a value into the gauge of these labels. */
type Put = (name: keyof typeof descriptions, labels: Record<string, string>, merge: (before: number) => number) => void;

function nameOf(key: string): string {
  return key.slice(0, key.indexOf(' '));
}

/** The gauges of all migrations that have members, by name and labels. */
export function fleetFigures(members: readonly RosterEntry[]): Counted {
  const figures: Record<string, { labels: Record<string, string>; value: number }> = {};
  const present = members.filter(({ report }) => report.state !== 'left');
  const put: Put = (name, labels, merge) => {
    const key = `${name} ${JSON.stringify(labels)}`;
    figures[key] = { labels, value: merge(figures[key]?.value ?? 0) };
  };
  const newest = new Map<string, number>();
  for (const { report } of present) {
    newest.set(report.migration, Math.max(newest.get(report.migration) ?? 0, report.epoch));
  }
  for (const entry of present) {
    const { report } = entry;
    const { migration, role } = report;
    const living = isLiving(entry);
    const group = report.role === 'consumer' ? report.group : '';
    put('members', { migration, role, group, state: living ? report.state : 'silent' }, (count) => count + 1);
    put('members_epoch', { migration }, (epoch) => Math.max(epoch, report.epoch));
    const isBehind = living && report.epoch < (newest.get(migration) ?? 0);
    put('members_behind', { migration }, (count) => count + Number(isBehind));
    if (report.role === 'publisher') putPublisher(report, living, put);
  }
  return figures;
}

/** What one that is silent said last is no news of it. */
function putPublisher(report: PublisherReport, living: boolean, put: Put): void {
  const labels = { migration: report.migration };
  const { held, longestHoldMs, backlog, owlmqLatencyMs = 0, oldestCopyMs = 0, mirrorDegraded } = report;
  const told = (value: number): number => (living ? value : 0);
  put('publishers_held_calls', labels, (sum) => sum + told(held));
  put('publishers_longest_hold_seconds', labels, (most) => Math.max(most, told(longestHoldMs) / 1_000));
  put('publishers_owlmq_latency_seconds', labels, (most) => Math.max(most, told(owlmqLatencyMs) / 1_000));
  put('publishers_backlog_copies', labels, (most) => Math.max(most, told(backlog)));
  put('publishers_oldest_copy_seconds', labels, (most) => Math.max(most, told(oldestCopyMs) / 1_000));
  put('publishers_mirror_degraded', labels, (count) => count + told(Number(mirrorDegraded)));
}
