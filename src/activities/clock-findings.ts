import { isLiving, type Finding, type RosterEntry } from '@owlmq/kafka-bridge/operations';
import ms from 'ms';

/** What a member's clock may be off, its report's way to this worker included. */
const CLOCK_OFF_MS = 2_000;

/** Members whose reports are of another time than the one at which they came. */
export function clockFindings(members: readonly RosterEntry[], now: number): Finding[] {
  const judged = members.filter((member) => member.fresh === true && isLiving(member));
  return judged.flatMap(({ report, silentMs }): Finding[] => {
    const offMs = Date.parse(report.at) - (now - silentMs);
    if (Math.abs(offMs) <= CLOCK_OFF_MS) return [];
    const off = `${ms(Math.abs(offMs), { long: true })} ${offMs > 0 ? 'ahead of' : 'behind'}`;
    return [
      {
        kind: 'warning',
        what: `The clock of ${report.role} ${report.instance} is ${off} this worker's.`,
        todo: 'Synchronise the clocks: soak and audit compare times of messages with their own.',
      },
    ];
  });
}
