import type { GroupStanding } from '../../groups/group-standing.js';
import { legName, plural, printable } from '../words.js';

/** Most members that are named. */
const MOST_MEMBERS = 5;

/** Whether a group has members, or some are about to join. */
export function isInUse({ members, state }: GroupStanding): boolean {
  return members.length > 0 || !['empty', 'dead', 'unknown'].includes(state);
}

/** Who is in a group, and what is to be stopped before its offsets can be set. */
export function inUse({ group, leg, state, members }: GroupStanding): string {
  const named = members.slice(0, MOST_MEMBERS).map(({ memberId, clientId, host }) => {
    const where = host === undefined ? '' : ` at ${printable(host)}`;
    return `${printable(clientId)}${where} (member ${printable(memberId)})`;
  });
  if (members.length > MOST_MEMBERS) named.push(`${members.length - MOST_MEMBERS} more`);
  const who =
    members.length === 0 ? `it is ${state} there` : `${plural(members.length, 'member')}: ${named.join(', ')}`;
  const killed =
    leg === 'kafka'
      ? 'One that was killed holds the group until its session timeout is over.'
      : 'One that was killed holds the group until its lease is over.';
  return `group ${group} is in use on ${legName(leg)}, ${who}. Stop the consumers of ${group} on ${legName(leg)}, then run this again. ${killed}`;
}
