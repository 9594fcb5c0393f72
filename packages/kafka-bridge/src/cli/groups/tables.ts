import type { Leg } from '../../message/headers.js';
import { textTable } from '../text-table.js';
import { count, legName, plural, printable } from '../words.js';
import type { PartitionPosition, SideReport } from './group-report.js';

/** A group on the sides that were asked. Safe as JSON. */
export interface GroupReport {
  group: string;
  kafka?: SideReport;
  owlmq?: SideReport;
}

/** A row a group, each side in columns of its own. */
export function groupLines(legs: readonly Leg[], groups: readonly GroupReport[]): string[] {
  const onKafka = legs.includes('kafka');
  const header = [
    ...['GROUP', ...(onKafka ? ['KIND'] : [])],
    ...legs.flatMap((leg) => [leg.toUpperCase(), 'MEMBERS', 'TOPICS', 'LAG', 'NO COMMIT']),
  ];
  const rows = groups.map((report) => [
    ...[printable(report.group), ...(onKafka ? [kindWord(report.kafka)] : [])],
    ...legs.flatMap((leg) => sideCells(report[leg])),
  ]);
  return textTable(header, rows);
}

function kindWord(side: SideReport | undefined): string {
  return side === undefined || side.kind === 'unknown' ? '-' : side.kind;
}

function sideCells(side: SideReport | undefined): string[] {
  if (side === undefined || side.kind === 'unknown') return ['-', '-', '-', '-', '-'];
  const members = hasMembersUnread(side) ? '-' : count(side.members.length);
  if (side.kind === 'share') return [side.state, members, '-', '-', '-'];
  const topics = new Set(side.positions.flatMap(({ topic, position }) => (position === undefined ? [] : [topic])));
  return [side.state, members, count(topics.size), count(side.lag), count(side.withoutCommit)];
}

/** Members of these are not asked for. */
function hasMembersUnread({ kind }: SideReport): boolean {
  return kind === 'share' || kind === 'streams';
}

/** A row a partition of each group, the sides beside each other. */
export function positionLines(legs: readonly Leg[], groups: readonly GroupReport[]): string[] {
  const rows = groups.flatMap((report) => {
    const names = new Map<string, { topic: string; partition: number }>();
    for (const leg of legs) {
      for (const { topic, partition } of report[leg]?.positions ?? [])
        names.set(`${topic}/${partition}`, { topic, partition });
    }
    return [...names.values()].sort(byPlace).map(({ topic, partition }) => {
      const places = legs.map((leg) =>
        report[leg]?.positions.find((place) => place.topic === topic && place.partition === partition),
      );
      return [
        ...[printable(report.group), printable(topic), String(partition)],
        ...places.flatMap(placeCells),
        legs.flatMap((leg, index) => oddities(leg, places[index])).join('; '),
      ];
    });
  });
  if (rows.length === 0) return [];
  const header = ['GROUP', 'TOPIC', 'PARTITION', ...legs.flatMap((leg) => [leg.toUpperCase(), 'END', 'LAG']), ''];
  return textTable(header, rows);
}

function byPlace(a: { topic: string; partition: number }, b: { topic: string; partition: number }): number {
  return a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1;
}

function placeCells(place: PartitionPosition | undefined): string[] {
  return [place?.position, place?.end, place?.lag].map((figure) => (figure === undefined ? '-' : String(figure)));
}

/** What a reader should know of a position beside its figures. */
function oddities(leg: Leg, place: PartitionPosition | undefined): string[] {
  if (place === undefined) return [];
  const { position, begin, end, metadataBytes } = place;
  if (position === undefined) return [`no commit on ${legName(leg)}`];
  if (begin === undefined || end === undefined) return [`${legName(leg)} does not have it any more`];
  return [
    ...(position < begin ? [`retention of ${legName(leg)} has passed it: the log begins at ${begin}`] : []),
    ...(position > end
      ? [`past the end on ${legName(leg)}: an open transaction, a topic made anew, or records lost`]
      : []),
    ...(metadataBytes === undefined ? [] : [`${plural(metadataBytes, 'byte')} of metadata`]),
  ];
}

/** A row a member. */
export function memberLines(legs: readonly Leg[], groups: readonly GroupReport[]): string[] {
  const rows = groups.flatMap((report) =>
    legs.flatMap((leg) =>
      (report[leg]?.members ?? []).map(({ memberId, clientId, host }) =>
        [report.group, legName(leg), clientId, host ?? '-', memberId].map(printable),
      ),
    ),
  );
  return rows.length === 0 ? ['No members.'] : textTable(['GROUP', 'SIDE', 'CLIENT', 'HOST', 'MEMBER'], rows);
}

/** Why offsets of groups cannot be moved, a line each. */
export function refusalLines(legs: readonly Leg[], groups: readonly GroupReport[]): string[] {
  return groups.flatMap((report) =>
    legs.flatMap((leg) => {
      const refusal = report[leg]?.refusal;
      return refusal === undefined ? [] : [`  - ${printable(`${report.group} on ${legName(leg)}: ${refusal}`)}`];
    }),
  );
}
