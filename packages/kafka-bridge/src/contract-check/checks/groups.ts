import type { Check } from '../check.js';
import { groupListSchema } from '../answers.js';
import { describeGroup, listGroups, setGroupOffsets } from '../requests.js';
import { holds, same } from '../verdicts.js';
import { WRITES } from './publish.js';

/** Groups and their committed offsets, without the life of members. */
export const groupChecks: readonly Check[] = [
  {
    name: 'groups.unknown',
    section: 'describeGroup',
    expected: 'a group that does not exist is answered with 404 unknown-group',
    needs: [],
    async run(trial) {
      await trial.refused(describeGroup(trial.name('unknown')), 404, 'unknown-group');
      return 'HTTP 404 unknown-group';
    },
  },
  {
    name: 'groups.set-offsets',
    section: 'setGroupOffsets',
    expected: 'offsets of a new group are set with 204 and told with their lag; partitions not named keep theirs',
    needs: WRITES,
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('set Größe');
      await trial.ok(setGroupOffsets(group, [at(topic, 0, 2), at(topic, 1, 5)]), 204);
      await trial.ok(setGroupOffsets(group, [at(topic, 1, 0), at(topic, 2, 1)]), 204);
      const told = await trial.describeGroup(group);
      const offsets = told.offsets.sort((a, b) => a.partition - b.partition);
      const end = { topic, endOffset: 5 };
      same('offsets', offsets, [
        { ...end, partition: 0, offset: 2, lag: 3 },
        { ...end, partition: 1, offset: 0, lag: 5 },
        { ...end, partition: 2, offset: 1, lag: 4 },
      ]);
      same('name, state and members', [told.name, told.state, told.members], [group, 'empty', []]);
      return 'set twice; each partition has what was set last, with its lag';
    },
  },
  {
    name: 'groups.list',
    section: 'listGroups',
    expected: 'the list has every group with committed offsets or members',
    needs: ['groups.set-offsets'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const [withOffsets, withMember] = [trial.name('listed'), trial.name('listed')];
      await trial.ok(setGroupOffsets(withOffsets, [at(topic, 0, 0)]), 204);
      await trial.joinStable(withMember, topic);
      const { groups } = await trial.json(listGroups(), groupListSchema);
      for (const group of [withOffsets, withMember]) holds(groups.includes(group), `${group} is not in the list`);
      return `${groups.length} groups, one of ours with offsets and one with a member among them`;
    },
  },
  {
    name: 'groups.set-all-or-none',
    section: 'setGroupOffsets',
    expected: 'offsets are set all or none: with one that cannot be (422 past the end, 404 unknown) none is',
    needs: ['groups.set-offsets'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('all-or-none');
      await trial.ok(setGroupOffsets(group, [at(topic, 0, 1)]), 204);
      const before = await trial.committed(group);
      const good = [at(topic, 0, 3), at(topic, 1, 3)];
      const past = setGroupOffsets(group, [...good, at(topic, 2, 6)]);
      await trial.refused(past, 422, 'offset-out-of-range', 'an offset past the end');
      const unknown = setGroupOffsets(group, [...good, at(trial.name('unknown'), 0, 0)]);
      await trial.refused(unknown, 404, 'unknown-topic', 'an unknown topic');
      const nowhere = setGroupOffsets(group, [...good, at(topic, 4_000_000, 0)]);
      await trial.refused(nowhere, 404, 'unknown-partition', 'an unknown partition');
      same('offsets after three refusals', await trial.committed(group), before);
      const created = trial.name('all-or-none');
      await trial.send(setGroupOffsets(created, [...good, at(topic, 2, 6)]));
      await trial.refused(describeGroup(created), 404, 'unknown-group', 'a group whose offsets were refused');
      return 'past the end, unknown topic, unknown partition: refused, and the offsets as before';
    },
  },
  {
    name: 'groups.not-empty',
    section: 'setGroupOffsets',
    expected: 'a group with members refuses with 409 group-not-empty and names them; without them it takes offsets',
    needs: ['groups.set-offsets', 'members.join', 'members.leave'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('not-empty');
      await trial.ok(setGroupOffsets(group, [at(topic, 0, 1)]), 204);
      const { memberId } = await trial.joinStable(group, topic);
      const before = await trial.committed(group);
      const problem = await trial.refused(setGroupOffsets(group, [at(topic, 0, 4)]), 409, 'group-not-empty');
      same('members that the problem names', problem.members, [memberId]);
      same('offsets afterwards', await trial.committed(group), before);
      await trial.leave(group, memberId);
      await trial.ok(setGroupOffsets(group, [at(topic, 0, 4)]), 204);
      same('offset once the member has left', (await trial.committed(group))[`${topic}/0`], 4);
      return 'HTTP 409 with the member, nothing changed; HTTP 204 once it had left';
    },
  },
];

/** An offset of a group, to set or to commit. */
export function at(
  topic: string,
  partition: number,
  offset: number,
): { topic: string; partition: number; offset: number } {
  return { topic, partition, offset };
}
