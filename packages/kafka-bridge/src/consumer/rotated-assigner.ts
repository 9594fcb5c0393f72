import { PartitionAssigners, type PartitionAssigner } from 'kafkajs';

/**
 * Gives each member what kafkajs's round robin would give the one before it. Next to a group of the same members with
 * the latter, no partition is with one process in both groups, as far as there is more than one.
 */
export const rotatedAssigner: PartitionAssigner = (config) => {
  const roundRobin = PartitionAssigners.roundRobin(config);
  const name = 'owlmq-rotated';
  return {
    ...roundRobin,
    name,
    protocol: ({ topics }) => ({ ...roundRobin.protocol({ topics }), name }),
    assign: async (group) => {
      const members = group.members.map(({ memberId }) => memberId).sort();
      const assigned = await roundRobin.assign(group);
      return assigned.map(({ memberId, memberAssignment }) => ({
        memberId: members[(members.indexOf(memberId) + 1) % members.length] ?? memberId,
        memberAssignment,
      }));
    },
  };
};
