import { eachLimited } from '../../audit/each-limited.js';
import { KafkaGroupNotEmptyError, KafkaOffsetsNotTakenError, OffsetReadBackError } from '../../kafka/cluster-admin.js';
import { importToKafka, importToOwlmq } from '../../offsets/import.js';
import { OwlmqGroupNotEmptyError } from '../../owlmq/owlmq-errors.js';
import { legName } from '../words.js';
import { inUse, isInUse } from './members-in-words.js';
import type { GroupPlan, Plan } from './plan.js';
import type { Selection } from './selection.js';
import { standings, type Systems } from './systems.js';

/** Each waits for a durable write of its own. */
const GROUPS_AT_ONCE = 4;

/**
 * Imports the planned groups, some at a time, each in full or not at all, and reads each back. A group that cannot be
 * imported is no reason to leave out the others; a leg that does not answer is. The reports say what became of each.
 *
 * @param signal is looked at before each group.
 * @returns what ended it before all was done.
 */
export async function carryOver(
  systems: Systems,
  selection: Selection,
  { groups }: Plan,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: { done: number; of: number }) => void },
): Promise<{ failure: unknown }> {
  const planned = groups.filter(({ report }) => report.outcome === 'planned');
  // Until its turn has come nothing is written of a group.
  for (const { report } of planned) report.outcome = 'not-reached';
  let done = 0;
  const work = async (plan: GroupPlan): Promise<void> => {
    if (signal.aborted) return;
    try {
      await carryOverOne(systems, selection, plan);
    } catch (error) {
      plan.report.outcome = 'failed';
      plan.report.reason = `whether the offsets of group ${plan.report.group} were written is not known. Running this again writes them, or finds them.`;
      throw error;
    }
    onProgress({ done: ++done, of: planned.length });
  };
  const [failure] = await eachLimited(planned, GROUPS_AT_ONCE, work, () => true);
  return { failure };
}

async function carryOverOne(systems: Systems, { to }: Selection, { report, translations }: GroupPlan): Promise<void> {
  const { group } = report;
  try {
    const done =
      to === 'owlmq'
        ? await importToOwlmq(systems.owlmq, group, translations)
        : await importToKafka(systems.admin, group, translations);
    for (const { topic, partition, before } of done.partitions) {
      const of = report.partitions.find((known) => known.topic === topic && known.partition === partition);
      if (of === undefined) continue;
      if (before === undefined) delete of.before;
      else of.before = before;
    }
    report.outcome = 'imported';
  } catch (error) {
    if (error instanceof KafkaOffsetsNotTakenError) {
      report.outcome = 'failed';
      report.reason = error.message;
      return;
    }
    if (error instanceof OffsetReadBackError) {
      report.outcome = 'failed';
      report.reason = `${error.message} Somebody else sets these offsets, or ${legName(to)} does not keep them: find out which before consumers start.`;
      return;
    }
    const standing = (await standings(systems, to, [group]).catch(() => undefined))?.get(group);
    const hasMembers = standing !== undefined && isInUse(standing);
    const saysSo = error instanceof OwlmqGroupNotEmptyError || error instanceof KafkaGroupNotEmptyError;
    if (!saysSo && !hasMembers) throw error;
    report.outcome = 'refused';
    report.reason = hasMembers
      ? inUse(standing)
      : `group ${group} was in use on ${legName(to)}. Run this again once its consumers have stopped.`;
  }
}
