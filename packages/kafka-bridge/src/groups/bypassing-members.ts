import { isHttpMember } from '../members/http-member.js';
import type { RosterEntry } from '../members/member-roster.js';
import type { GroupStanding } from './group-standing.js';

/** Most members that are named. */
const MOST_NAMED = 5;

/**
 * Members of a group in Kafka that do not run the library with a migration: they would go on consuming from Kafka after
 * the cutover, while the group consumes from OwlMQ. One that has joined a moment ago is among them until it has reported.
 *
 * @param entries members that have reported to the migration, silent ones too: Kafka misses those later.
 * @returns in words, and empty without any; undefined where it cannot be told, since members that report over HTTP do
 * not say who they are in Kafka.
 */
export function bypassingMembers(
  { group, members }: Pick<GroupStanding, 'group' | 'members'>,
  entries: readonly RosterEntry[],
): string | undefined {
  const own = entries.flatMap(({ report }) => (report.role === 'consumer' && report.group === group ? [report] : []));
  if (own.some(({ instance }) => isHttpMember(instance))) return undefined;
  const reported = new Set(own.map(({ memberId }) => memberId));
  const bypassing = members.filter(({ memberId }) => !reported.has(memberId));
  const named = bypassing
    .slice(0, MOST_NAMED)
    .map(({ clientId, host }) => (host === undefined ? clientId : `${clientId} at ${host}`));
  const more = bypassing.length - named.length;
  return [...named, ...(more > 0 ? [`${more} more`] : [])].join(', ');
}
