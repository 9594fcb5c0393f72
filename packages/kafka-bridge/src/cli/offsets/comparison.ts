import type { GroupStanding } from '../../groups/group-standing.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { textTable } from '../text-table.js';
import { count, plural } from '../words.js';
import type { GroupReport, MigrationReport } from './report.js';
import { capped, directionName, list, sentence } from './tables.js';

type State = 'equal' | 'behind' | 'ahead' | 'absent' | 'unknown';

interface ComparedPartition {
  topic: string;
  partition: number;
  /** Where it is to stand; absent where that was refused. */
  expected?: number;
  /** Where it stands; absent where nothing is committed. */
  actual?: number;
  state: State;
  /** By how many offsets it is behind or ahead. */
  by?: number;
}

interface ComparedGroup {
  group: string;
  /** Members at the target: it consumes there, and is ahead of what was carried over. */
  targetMembers: number;
  /** Why nothing was carried over. */
  refusal?: string;
  partitions: ComparedPartition[];
}

/** What `verify-offsets` found: its JSON output. */
export interface Comparison {
  version: 1;
  direction: MigrationReport['direction'];
  /** What the positions at the target were compared with. */
  against: 'report' | 'translation';
  checkedAt: string;
  exitCode: ExitCode;
  groups: ComparedGroup[];
}

/** Compares where groups are to stand with where they do. */
export function compare({
  direction,
  against,
  groups,
  standings,
}: {
  direction: MigrationReport['direction'];
  against: Comparison['against'];
  groups: readonly GroupReport[];
  standings: readonly GroupStanding[];
}): Comparison {
  const compared = groups.map(({ group, outcome, reason, partitions }): ComparedGroup => {
    const standing = standings.find((found) => found.group === group);
    const actual = new Map(standing?.offsets.map(({ topic, partition, offset }) => [`${topic}/${partition}`, offset]));
    return {
      group,
      targetMembers: standing?.members.length ?? 0,
      ...(outcome === 'refused' ? { refusal: reason ?? 'refused' } : {}),
      partitions: partitions.map(({ topic, partition, target }) => ({
        ...{ topic, partition },
        ...stateOf(target, actual.get(`${topic}/${partition}`)),
      })),
    };
  });
  const checkedAt = new Date().toISOString();
  return { version: 1, direction, against, checkedAt, exitCode: exitCodeOf(compared), groups: compared };
}

/** A row for each group and topic, then what is not equal, one by one. */
export function comparisonLines({ direction, against, groups }: Comparison): string[] {
  const header = ['GROUP', 'TOPIC', 'PARTITIONS', 'EQUAL', 'BEHIND', 'AHEAD', 'ABSENT', 'UNKNOWN'];
  const states: readonly State[] = ['equal', 'behind', 'ahead', 'absent', 'unknown'];
  const rows = groups.flatMap(({ group, partitions }) =>
    [...new Set(partitions.map(({ topic }) => topic))].map((topic) => {
      const own = partitions.filter((partition) => partition.topic === topic);
      const counts = states.map((state) => count(own.filter((partition) => partition.state === state).length));
      return [group, topic, count(own.length), ...counts];
    }),
  );
  const details = groups.flatMap((group) => group.partitions.flatMap((partition) => detail(group, partition)));
  const consuming = groups.filter(({ targetMembers }) => targetMembers > 0);
  return [
    `${directionName(direction)}, compared with ${against === 'report' ? 'the report' : 'the source'}:`,
    ...(rows.length === 0 ? [] : ['', ...textTable(header, rows)]),
    ...list('', capped(details)),
    ...list('Refused:', capped(groups.flatMap(({ refusal }) => (refusal === undefined ? [] : [sentence(refusal)])))),
    ...list(
      'These consume at the target by now, so that they move on from what was carried over:',
      capped(consuming.map(({ group, targetMembers }) => `${group} (${plural(targetMembers, 'member')})`)),
    ),
    ...(details.length === 0 && groups.every(({ refusal }) => refusal === undefined)
      ? ['', 'All stand where they are to.']
      : []),
  ];
}

function stateOf(
  expected: number | undefined,
  actual: number | undefined,
): Omit<ComparedPartition, 'topic' | 'partition'> {
  const known = { ...(expected === undefined ? {} : { expected }), ...(actual === undefined ? {} : { actual }) };
  if (expected === undefined) return { ...known, state: 'unknown' };
  if (actual === undefined) return { ...known, state: 'absent' };
  if (actual === expected) return { ...known, state: 'equal' };
  return actual < expected
    ? { ...known, state: 'behind', by: expected - actual }
    : { ...known, state: 'ahead', by: actual - expected };
}

function detail({ group, targetMembers }: ComparedGroup, partition: ComparedPartition): string[] {
  const { topic, state, expected, actual, by = 0 } = partition;
  const where = `${group} ${topic}/${partition.partition}`;
  const stands = `stands at ${actual ?? 'nothing'} in place of ${expected ?? 'what is not known'}`;
  switch (state) {
    case 'equal':
      return [];
    case 'behind':
      return [`${where} is behind by ${count(by)}: it ${stands}. That much comes again.`];
    case 'ahead':
      return targetMembers > 0
        ? [`${where} is ahead by ${count(by)}: it ${stands}. The group consumes there.`]
        : [
            `${where} is AHEAD by ${count(by)}: it ${stands}. THAT MUCH WOULD BE SKIPPED: import it again before consumers start.`,
          ];
    case 'absent':
      return [
        `${where} is absent: it is to stand at ${expected ?? 0}. Without it the consumers' auto.offset.reset decides.`,
      ];
    case 'unknown':
      return [
        `${where} is unknown: where it is to stand could not be translated. See it with migrate-offsets --dry-run.`,
      ];
  }
}

function exitCodeOf(groups: readonly ComparedGroup[]): ExitCode {
  const dangerous = groups.some(
    ({ refusal, targetMembers, partitions }) =>
      refusal !== undefined ||
      partitions.some(({ state }) => state === 'unknown' || (state === 'ahead' && targetMembers === 0)),
  );
  if (dangerous) return EXIT.refused;
  return groups.some(({ partitions }) => partitions.some(({ state }) => state !== 'equal'))
    ? EXIT.differences
    : EXIT.ok;
}
