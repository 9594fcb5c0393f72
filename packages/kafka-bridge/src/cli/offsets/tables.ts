import { textTable } from '../text-table.js';
import { count, plural } from '../words.js';
import type { GroupReport, MigrationReport, PartitionReport } from './report.js';

/** Most partitions and groups that are told one by one. */
const MOST_DETAILS = 20;

/** What is to be carried over: a row for each group and topic, then what is not exact, one by one. */
export function planLines({ direction, groups }: MigrationReport): string[] {
  const rows = groups.flatMap(({ group, partitions }) =>
    [...new Set(partitions.map(({ topic }) => topic))].map((topic) =>
      row(
        group,
        topic,
        partitions.filter((partition) => partition.topic === topic),
      ),
    ),
  );
  const header = ['GROUP', 'TOPIC', 'PARTITIONS', 'EXACT', 'BOUNDED', 'REFUSED', 'REDELIVERIES', 'LAG'];
  const details = groups.flatMap(({ group, partitions }) =>
    partitions.flatMap((partition) => (needsWords(partition) ? [detail(group, partition)] : [])),
  );
  const all = groups.flatMap(({ partitions }) => partitions);
  const of = (verdict: PartitionReport['verdict']): number => all.filter((one) => one.verdict === verdict).length;
  const verdicts = [
    ...(of('exact') === 0 ? [] : [`${count(of('exact'))} exact`]),
    ...(of('bounded') === 0 ? [] : [`${count(of('bounded'))} bounded`]),
    ...(of('refused') === 0 ? [] : [`${count(of('refused'))} refused`]),
  ];
  const found = all.length === of('exact') ? 'all exact' : verdicts.join(', ');
  return [
    `${directionName(direction)}: ${plural(groups.length, 'group')}` +
      (all.length === 0 ? '.' : `, ${plural(all.length, 'partition')}, ${found}.`),
    ...(rows.length === 0 ? [] : ['', ...textTable(header, rows)]),
    ...list('', capped(details)),
  ];
}

export function directionName(direction: MigrationReport['direction']): string {
  return direction === 'kafka-to-owlmq' ? 'Kafka to OwlMQ' : 'OwlMQ to Kafka';
}

/** What became of each group, and what to do. */
export function outcomeLines({ groups, notes, dryRun, failure, direction }: MigrationReport): string[] {
  const of = (outcome: GroupReport['outcome']): GroupReport[] => groups.filter((group) => group.outcome === outcome);
  const names = (found: readonly GroupReport[]): string => capped(found.map(({ group }) => group)).join(', ');
  const reasons = (found: readonly GroupReport[]): string[] =>
    capped(found.map(({ group, reason }) => sentence(reason ?? group)));
  const [imported, planned, held, notReached] = [of('imported'), of('planned'), of('held-back'), of('not-reached')];
  const live = groups.filter(({ sourceMembers, outcome }) => sourceMembers > 0 && outcome !== 'refused');
  const source = direction === 'kafka-to-owlmq' ? 'Kafka' : 'OwlMQ';
  return [
    ...list('Refused, nothing was written of:', reasons(of('refused'))),
    ...list('FAILED:', reasons(of('failed'))),
    ...list('Passed over:', reasons(of('passed-over'))),
    ...list(
      `Still consuming on ${source}: what they consume from now on comes again. Stop them, and run this again:`,
      capped(live.map(({ group, sourceMembers }) => `${group} (${plural(sourceMembers, 'member')})`)),
    ),
    ...list('Note:', notes),
    '',
    ...(imported.length === 0 ? [] : [`Imported and read back: ${names(imported)}.`]),
    ...(planned.length === 0
      ? []
      : [`${dryRun ? 'Dry run: nothing was written. Would be' : 'To be'} imported: ${names(planned)}.`]),
    ...(held.length === 0
      ? []
      : [
          `Held back, nothing was written of: ${names(held)}.` +
            (of('refused').length === 0 ? '' : ' --skip-refused imports them without the others.'),
        ]),
    ...(notReached.length === 0
      ? []
      : [`Not reached, nothing was written of: ${names(notReached)}. The same command goes on with them.`]),
    ...(failure === undefined ? [] : [`Ended by: ${failure}`]),
    ...(imported.length + planned.length + held.length + notReached.length === 0 ? ['Nothing was written.'] : []),
  ];
}

function row(group: string, topic: string, partitions: readonly PartitionReport[]): string[] {
  const of = (verdict: PartitionReport['verdict']): number =>
    partitions.filter((partition) => partition.verdict === verdict).length;
  const sum = (key: 'redeliveries' | 'lag'): number =>
    partitions.reduce((all, partition) => all + (partition[key] ?? 0), 0);
  const unknown = partitions.some(({ verdict, redeliveries }) => verdict === 'bounded' && redeliveries === undefined);
  return [
    ...[group, topic, count(partitions.length), count(of('exact')), count(of('bounded')), count(of('refused'))],
    ...[unknown ? `${count(sum('redeliveries'))} or more` : count(sum('redeliveries')), count(sum('lag'))],
  ];
}

function needsWords({ verdict, reason }: PartitionReport): boolean {
  return verdict !== 'exact' || reason !== undefined;
}

function detail(
  group: string,
  { topic, partition, verdict, source, target, redeliveries, reason }: PartitionReport,
): string {
  const where = `${group} ${topic}/${partition}`;
  const because = reason === undefined ? '' : ` ${sentence(reason)}`;
  if (verdict === 'refused') return `${where}: refused.${because}`;
  const moved = `${source ?? 'no commit'} becomes ${target ?? '-'}`;
  if (verdict === 'exact') return `${where}: ${moved}.${because}`;
  const again =
    redeliveries === undefined
      ? 'more messages come again, it is not known how many'
      : `${plural(redeliveries, 'message')} ${redeliveries === 1 ? 'comes' : 'come'} again`;
  return `${where}: ${moved}, ${again}.${because}`;
}

/** With a capital at its begin and a stop at its end. */
export function sentence(text: string): string {
  const end = /[.!?]$/.test(text) ? '' : '.';
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${end}`;
}

/** Lines, with the number of those that are too many. */
export function capped(lines: readonly string[]): string[] {
  const more = lines.length - MOST_DETAILS;
  return more <= 0 ? [...lines] : [...lines.slice(0, MOST_DETAILS), `and ${count(more)} more; --output json has all`];
}

/** Items under a title, a line each; nothing where there are none. */
export function list(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : ['', ...(title === '' ? [] : [title]), ...items.map((item) => `  - ${item}`)];
}
