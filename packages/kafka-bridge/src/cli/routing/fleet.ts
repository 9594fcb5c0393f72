import { pause } from '../../async/bounded.js';
import type { MemberReport } from '../../members/member-report.js';
import type { MemberRoster } from '../../members/member-roster.js';
import type { RoutingState } from '../../routing/routing-state.js';
import { textTable } from '../text-table.js';
import { ago, count, duration } from '../words.js';

/** A member as a command has seen it. */
export interface FleetMember {
  report: MemberReport;
  /** Whether it reported while the command listened. Members report every second. */
  heard: boolean;
}

const POLL_MS = 100;

/** Members report every second; a slow machine may be late. */
const LISTEN_MS = 3_000;

/**
 * The members of a migration, those that left too. Listens until each of the others has reported anew, or for a few
 * seconds: what the topic already held does not say who is alive.
 */
export async function listenToFleet(
  roster: MemberRoster,
  migration: string,
  options: { listenMs?: number; signal?: AbortSignal } = {},
): Promise<FleetMember[]> {
  const started = performance.now();
  const deadline = started + (options.listenMs ?? LISTEN_MS);
  for (;;) {
    await roster.readToEnd();
    const now = performance.now();
    const members = roster.members(migration).map(({ report, silentMs }) => ({
      report,
      heard: now - silentMs > started,
    }));
    if (members.every(({ report, heard }) => heard || report.state === 'left')) return members;
    if (now >= deadline || options.signal?.aborted === true) return members;
    await pause(POLL_MS, options.signal);
  }
}

/** Why a member does not follow a state in full; undefined when it does. */
export function lag(report: MemberReport, state: RoutingState): string | undefined {
  if (report.epoch < state.epoch) return `is on epoch ${report.epoch} (${report.state})`;
  if (report.role === 'publisher' && state.fence !== undefined) {
    if (report.state !== 'fenced') return `is not fenced yet (${report.state}, ${count(report.inFlight)} in flight)`;
    if (report.inFlight > 0) return `has ${count(report.inFlight)} messages in flight`;
  }
  if (report.role === 'consumer' && report.only !== 'shadow') {
    const wanted = state.drain === undefined ? `live-${state.live}` : 'drained';
    if (report.state !== wanted) return `is ${report.state}, not ${wanted}`;
  }
  return undefined;
}

/** A member's name with what it is. */
export function memberName(report: MemberReport): string {
  return report.role === 'publisher' ? `publisher ${report.instance}` : `${report.instance} of ${report.group}`;
}

/** The members as a table; those that left are counted only. */
export function memberLines(members: readonly FleetMember[]): string[] {
  const present = members.filter(({ report }) => report.state !== 'left');
  const left = members.length - present.length;
  const leftLine = left === 0 ? [] : [`${count(left)} more left in good order.`];
  if (present.length === 0) return ['No member reports to this migration.', ...leftLine];
  const header = ['INSTANCE', 'ROLE', 'GROUP', 'STATE', 'EPOCH', 'LEASE', 'HEARD', 'HELD', 'IN FLIGHT', 'BACKLOG'];
  const rows = present.map(({ report, heard }) => [
    report.instance,
    report.role,
    report.role === 'consumer' ? report.group : '-',
    report.role === 'consumer' && report.shadow ? `${report.state}, shadow` : report.state,
    String(report.epoch),
    duration(report.leaseMs),
    heard ? 'yes' : `silent, last ${ago(report.at)}`,
    ...(report.role === 'publisher'
      ? [count(report.held), count(report.inFlight), count(report.backlog)]
      : ['-', '-', '-']),
  ]);
  return [...textTable(header, rows), ...leftLine];
}

/** A fence under which calls begin to fail: the publishers' default `holdTimeoutMs`. */
const HOLD_TIMEOUT_MS = 60_000;

/** What a person should look at, a line each. */
export function standsOut(state: RoutingState, members: readonly FleetMember[]): string[] {
  const lines: string[] = [];
  const present = members.filter(({ report }) => report.state !== 'left');
  const heard = present.filter((member) => member.heard).map(({ report }) => report);
  const fencedMs = Date.now() - Date.parse(state.writtenAt);
  if (state.fence !== undefined && fencedMs > HOLD_TIMEOUT_MS / 2) {
    lines.push(
      `The fence stands for ${duration(fencedMs)}: publish() calls fail once they were held for holdTimeoutMs (${duration(HOLD_TIMEOUT_MS)} by default).`,
    );
  }
  for (const report of heard) {
    const behind = lag(report, state);
    if (behind !== undefined) lines.push(`${memberName(report)} ${behind}.`);
    if (report.state === 'lease-lost') {
      lines.push(`${memberName(report)} cannot read the routing topic: it holds until it can.`);
    }
    if (report.role !== 'publisher') continue;
    if (report.mirrorDegraded) {
      const other = state.primary === 'kafka' ? 'OwlMQ' : 'Kafka';
      lines.push(`${memberName(report)} does not reach ${other}: it lacks copies until the audit repairs them.`);
    }
  }
  for (const { report } of present.filter((member) => !member.heard)) {
    lines.push(
      `${memberName(report)} is silent, its last report was ${ago(report.at)}: it was killed, is frozen or does not reach Kafka. Past its lease of ${duration(report.leaseMs)} it holds by itself.`,
    );
  }
  if (!heard.some(({ role }) => role === 'publisher')) lines.push('No DualPublisher reports to this migration.');
  for (const group of state.groups) {
    const reports = heard.some((report) => report.role === 'consumer' && report.group === group);
    if (!reports) lines.push(`No DualConsumer of group ${group} reports.`);
  }
  return lines;
}
