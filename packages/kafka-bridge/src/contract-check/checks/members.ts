import { pause } from '../../async/bounded.js';
import type { Contract } from '../../contract/index.js';
import type { Check } from '../check.js';
import { commit, fetchRecords, heartbeat, joinGroup, leaveGroup, setGroupOffsets } from '../requests.js';
import { aside, joinRequest } from '../trial.js';
import { ContractBrokenError, holds, NotTriedError, same, shown } from '../verdicts.js';
import { at } from './groups.js';

type Membership = Contract['Membership'];

/** What is to end a wait must have ended it by then. */
const SLACK_MS = 5_000;
const LONG_POLL_MS = 8_000;
const MOST_FETCHES = 10;

/** Life of members: assignments, generations, positions. Leases have a file of their own. */
export const memberChecks: readonly Check[] = [
  {
    name: 'members.join',
    section: 'joinGroup',
    expected:
      'a lone member gets every partition of its topics, each from the committed offset or what offsetReset says',
    needs: ['groups.set-offsets'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('join');
      await trial.ok(setGroupOffsets(group, [at(topic, 1, 3), at(topic, 3, 5)]), 204);
      // Without a name of its own: the server chooses one.
      const membership = await trial.join(group, topic);
      same('state', membership.state, 'stable');
      same('assignment', byPartition(membership), [at(topic, 0, 0), at(topic, 1, 3), at(topic, 2, 0), at(topic, 3, 5)]);
      holds(membership.leaseMs > 0, 'leaseMs is 0');
      holds(
        membership.leaseMs <= joinRequest(topic).sessionTimeoutMs,
        `leaseMs is ${membership.leaseMs}, more than asked`,
      );
      const told = await trial.describeGroup(group);
      same('state of the group', told.state, 'stable');
      same('generation of the group', told.generation, membership.generation);
      const shown = told.members.map(({ memberId, clientId, assignment }) => [memberId, clientId, assignment.length]);
      same('members of the group', shown, [[membership.memberId, 'check-owlmq', 4]]);
      await trial.refused(joinGroup(group, joinRequest(trial.name('unknown'))), 404, 'unknown-topic');
      return 'four partitions, two from where they were committed, two from the begin';
    },
  },
  {
    name: 'members.join-again',
    section: 'Conventions',
    expected: 'a join that is repeated with the same memberId is the same member: nothing changes',
    needs: ['members.join'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('join-again');
      const first = await trial.joinStable(group, topic);
      const again = await trial.joinStable(group, topic, { memberId: first.memberId });
      same('the second answer', standing(again), standing(first));
      same('number of members', (await trial.describeGroup(group)).members.length, 1);
      return 'the same generation and assignment, one member';
    },
  },
  {
    name: 'members.heartbeat',
    section: 'heartbeat',
    expected:
      'a heartbeat says where the member stands; another generation or an unknown member is 409 stale-generation',
    needs: ['members.join'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('heartbeat');
      const member = await trial.joinStable(group, topic);
      const { memberId, generation } = member;
      const answer = await trial.heartbeat(group, memberId, generation);
      same('membership', standing(answer), standing(member));
      await trial.refused(heartbeat(group, memberId, generation + 1), ...STALE, 'a generation that is not yet');
      await trial.refused(heartbeat(group, trial.name('nobody'), generation), ...STALE, 'an unknown member');
      return 'the membership as joined; HTTP 409 for another generation and for an unknown member';
    },
  },
  {
    name: 'members.fetch',
    section: 'fetch',
    expected:
      'a fetch has records from the given positions, counted by partition, with end offsets; only of own partitions',
    needs: ['members.join'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('fetch');
      const { memberId, generation } = await trial.joinStable(group, topic);
      const positions = [at(topic, 0, 1), at(topic, 2, 4), at(topic, 3, 5)];
      const next = new Map(positions.map(({ partition, offset }) => [partition, offset]));
      const offsets: Record<number, number[]> = { 0: [], 2: [], 3: [] };
      // A server need not have all that there is in one answer.
      for (let times = 0; times < MOST_FETCHES && [...next.values()].some((offset) => offset < 5); times++) {
        const from = [...next].map(([partition, offset]) => at(topic, partition, offset));
        const { head, records } = await trial.fetch(group, memberId, { generation, positions: from });
        same('state and generation', [head.membership.state, head.membership.generation], ['stable', generation]);
        const counted = head.partitions.flatMap(({ partition, count }) => Array<number>(count).fill(partition));
        const partitions = records.map(({ partition }) => partition);
        same('partitions of the records, by the counts of the head', partitions, counted);
        holds(
          head.partitions.every(({ endOffset }) => endOffset === 5),
          `end offsets: ${shown(head.partitions)}`,
        );
        for (const { partition, offset } of records) {
          (offsets[partition] ??= []).push(offset);
          next.set(partition, offset + 1);
        }
      }
      same('offsets', offsets, { 0: [1, 2, 3, 4], 2: [4], 3: [] });
      const few = await trial.fetch(group, memberId, { generation, positions, maxRecords: 2 });
      holds(few.records.length > 0 && few.records.length <= 2, `maxRecords 2: ${few.records.length} records`);
      const past = fetchRecords(group, memberId, { generation, positions: [at(topic, 0, 6)] });
      await trial.refused(past, 422, 'offset-out-of-range', 'a position past the end');
      const foreign = await trial.topic('not-subscribed', 1);
      const other = fetchRecords(group, memberId, { generation, positions: [at(foreign, 0, 0)] });
      await trial.refused(other, ...STALE, 'a partition that is not its own');
      return 'five records of two partitions at their places, HTTP 422 past the end, HTTP 409 for what is not its own';
    },
  },
  {
    name: 'members.fetch-wakes',
    section: 'fetch',
    expected: 'a fetch that waits is answered as soon as a record is there, and without records when waitMs is over',
    needs: ['members.fetch', 'limits.form'],
    async run(trial) {
      if (trial.limits.maxWaitMs < LONG_POLL_MS) throw new NotTriedError(`maxWaitMs is ${trial.limits.maxWaitMs}`);
      const topic = await trial.topic('fetched', 2);
      const group = trial.name('fetch-wakes');
      const { memberId, generation } = await trial.joinStable(group, topic);
      const start = await trial.endOffset(topic, 1);
      const positions = [at(topic, 0, await trial.endOffset(topic, 0)), at(topic, 1, start)];
      const empty = await trial.fetch(group, memberId, { generation, positions, waitMs: 200 });
      same('records of the fetch with nothing to come', empty.records.length, 0);
      holds(empty.ms >= 195, `it was answered after ${Math.round(empty.ms)} ms of 200`);
      const fetching = aside(trial.fetch(group, memberId, { generation, positions, waitMs: LONG_POLL_MS }));
      await pause(100, trial.signal);
      const record = trial.record(1);
      await trial.accepted(topic, [record]);
      const { records, ms } = await fetching;
      same(
        'ids that the fetch had',
        records.map(({ id }) => id),
        [record.id],
      );
      holds(ms < SLACK_MS, `it took ${Math.round(ms)} ms`);
      return `nothing after ${Math.round(empty.ms)} ms of 200; a record after ${Math.round(ms)} ms of ${LONG_POLL_MS}`;
    },
  },
  {
    name: 'members.commit',
    section: 'commit',
    expected: 'a commit is told by the group; all or none, up to the end offset (422), of own partitions alone (409)',
    needs: ['members.join'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('commit');
      const { memberId, generation } = await trial.joinStable(group, topic);
      await trial.ok(commit(group, memberId, generation, [at(topic, 0, 2), at(topic, 1, 5)]), 204);
      const committed = { [`${topic}/0`]: 2, [`${topic}/1`]: 5 };
      same('committed offsets', await trial.committed(group), committed);
      const past = commit(group, memberId, generation, [at(topic, 0, 3), at(topic, 2, 6)]);
      await trial.refused(past, 422, 'offset-out-of-range', 'an offset past the end');
      const foreign = await trial.topic('not-subscribed', 1);
      const other = commit(group, memberId, generation, [at(topic, 0, 3), at(foreign, 0, 0)]);
      await trial.refused(other, ...STALE, 'a partition that is not its own');
      same('committed offsets after two refusals', await trial.committed(group), committed);
      await trial.ok(commit(group, memberId, generation, [at(topic, 1, 1)]), 204);
      same('an offset that goes back', (await trial.committed(group))[`${topic}/1`], 1);
      return 'committed and told; refused past the end and for what is not its own, with nothing committed of it';
    },
  },
  {
    name: 'members.leave',
    section: 'leaveGroup',
    expected: 'a member that leaves is not in the group any more; leaving again is 204 too',
    needs: ['members.join'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('leave');
      const { memberId, generation } = await trial.joinStable(group, topic);
      await trial.ok(commit(group, memberId, generation, [at(topic, 0, 1)]), 204);
      await trial.leave(group, memberId);
      const told = await trial.describeGroup(group);
      same('state and members', [told.state, told.members], ['empty', []]);
      await trial.refused(commit(group, memberId, generation, [at(topic, 0, 2)]), ...STALE, 'a member that left');
      await trial.ok(leaveGroup(group, memberId), 204);
      same('committed offset', (await trial.committed(group))[`${topic}/0`], 1);
      return 'gone at once; its commit is refused with 409';
    },
  },
  {
    name: 'members.generation-rises',
    section: 'Groups',
    expected: 'the generation only rises, also when the group was empty in between',
    needs: ['members.leave'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('generations');
      const generations: number[] = [];
      for (let times = 0; times < 3; times++) {
        const { memberId, generation } = await trial.joinStable(group, topic);
        generations.push(generation);
        await trial.leave(group, memberId);
      }
      const rise = generations.every((one, index) => index === 0 || one > (generations[index - 1] ?? one));
      holds(rise, `generations ${generations.join(', ')}`);
      return `generations ${generations.join(', ')}`;
    },
  },
  {
    name: 'members.rebalance',
    section: 'Groups',
    expected:
      'when a member joins, the others are told by heartbeat and fetch; they keep their partitions and may commit until they join again',
    needs: ['members.heartbeat', 'members.fetch', 'members.commit'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('rebalance');
      const before = await trial.joinStable(group, topic);
      const { memberId, generation } = before;
      const positions = [0, 1, 2, 3].map((partition) => at(topic, partition, 5));
      const fetching = aside(trial.fetch(group, memberId, { generation, positions, waitMs: LONG_POLL_MS }));
      await pause(100, trial.signal);
      const joining = aside(trial.joinStable(group, topic));
      const { head, records, ms } = await fetching;
      same('state and records of the fetch that waited', [head.membership.state, records.length], ['rebalancing', 0]);
      holds(ms < SLACK_MS, `the fetch that waited was answered after ${Math.round(ms)} ms of ${LONG_POLL_MS}`);
      const told = await trial.told(group, before);
      same('partitions that it keeps', byPartition(told), byPartition(before));
      same('state of the group', (await trial.describeGroup(group)).state, 'rebalancing');
      await trial.ok(commit(group, memberId, generation, [at(topic, 0, 4)]), 204);
      const after = await trial.joinStable(group, topic, { memberId });
      const second = await joining;
      holds(after.generation > generation, `generation ${after.generation} came after ${generation}`);
      same('generation of the other member', second.generation, after.generation);
      same('state of the group afterwards', (await trial.describeGroup(group)).state, 'stable');
      same('offset committed meanwhile', (await trial.committed(group))[`${topic}/0`], 4);
      return `told by fetch after ${Math.round(ms)} ms and by heartbeat; generation ${generation}, then ${after.generation}`;
    },
  },
  {
    name: 'members.assigned-once',
    section: 'Groups',
    expected: 'each partition of the topics is assigned to exactly one member of a generation',
    needs: ['members.rebalance'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('assigned-once');
      const { first, second } = await trial.pair(group, topic);
      const all = [first, second].flatMap(byPartition).map(({ partition }) => partition);
      same(
        'partitions of both members',
        all.sort((a, b) => a - b),
        [0, 1, 2, 3],
      );
      for (const member of [first, second]) {
        const { memberId, generation } = member;
        same(
          'assignment told by heartbeat',
          byPartition(await trial.heartbeat(group, memberId, generation)),
          byPartition(member),
        );
      }
      const { members } = await trial.describeGroup(group);
      const told = members.flatMap(({ assignment }) => assignment.map(({ partition }) => partition));
      same(
        'partitions of all members in the description',
        told.sort((a, b) => a - b),
        [0, 1, 2, 3],
      );
      const [own] = byPartition(second);
      if (own === undefined) throw new ContractBrokenError('the second member of two has none of four partitions');
      const { memberId, generation } = first;
      await trial.refused(commit(group, memberId, generation, [own]), ...STALE, "the other member's partition");
      const fetch = fetchRecords(group, memberId, { generation, positions: [own] });
      await trial.refused(fetch, ...STALE, "the other member's partition");
      return `${byPartition(first).length} and ${byPartition(second).length} of four partitions, none twice`;
    },
  },
  {
    name: 'members.stale-generation',
    section: 'StaleGeneration',
    expected: 'heartbeat, fetch and commit under a generation that is over are refused with 409 and do nothing',
    needs: ['members.rebalance'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('stale');
      const { before, first } = await trial.pair(group, topic);
      const [own] = byPartition(first);
      if (own === undefined) throw new ContractBrokenError('the first member of two has none of four partitions');
      const { memberId, generation } = before;
      const late = commit(group, memberId, generation, [{ ...own, offset: own.offset + 1 }]);
      await trial.refused(late, ...STALE, 'a generation that is over');
      await trial.refused(heartbeat(group, memberId, generation), ...STALE, 'a generation that is over');
      const fetch = fetchRecords(group, memberId, { generation, positions: [own] });
      await trial.refused(fetch, ...STALE, 'a generation that is over');
      same('committed offsets', await trial.committed(group), {});
      return `generation ${generation} after ${first.generation} began: HTTP 409 three times, nothing committed`;
    },
  },
  {
    name: 'members.rest-inherits',
    section: 'Groups',
    expected: 'when a member leaves, the others are told, and get its partitions from where it committed',
    needs: ['members.rebalance', 'members.leave'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('inherits');
      const { first, second } = await trial.pair(group, topic);
      const [left] = byPartition(second);
      if (left === undefined) throw new ContractBrokenError('the second member of two has none of four partitions');
      await trial.ok(commit(group, second.memberId, second.generation, [{ ...left, offset: 3 }]), 204);
      await trial.leave(group, second.memberId);
      await trial.told(group, first);
      const heir = await trial.joinStable(group, topic, { memberId: first.memberId });
      const expected = [0, 1, 2, 3].map((partition) => at(topic, partition, partition === left.partition ? 3 : 0));
      same('its assignment', byPartition(heir), expected);
      return 'all four partitions, one from offset 3, where it was committed';
    },
  },
  {
    name: 'members.latest-once',
    section: 'Join',
    expected: 'offsetReset latest is resolved when the partition is first assigned, and committed then',
    needs: ['members.leave'],
    async run(trial) {
      const topic = await trial.topic('latest', 2);
      const group = trial.name('latest');
      await trial.accepted(topic, [trial.record(0), trial.record(0), trial.record(1)]);
      const latest = { offsetReset: 'latest' } as const;
      const ends = [await trial.endOffset(topic, 0), await trial.endOffset(topic, 1)];
      const member = await trial.joinStable(group, topic, latest);
      same(
        'where it begins',
        byPartition(member).map(({ offset }) => offset),
        ends,
      );
      const committed = Object.fromEntries(ends.map((offset, partition) => [`${topic}/${partition}`, offset]));
      same('committed offsets', await trial.committed(group), committed);
      await trial.accepted(topic, [trial.record(0), trial.record(1)]);
      await trial.leave(group, member.memberId);
      const next = await trial.joinStable(group, topic, latest);
      same(
        'where the next one begins, after more was published',
        byPartition(next).map(({ offset }) => offset),
        ends,
      );
      return `at ${ends.join(' and ')}, and still there for the next member`;
    },
  },
];

/** What is refused under a generation that is over, or to who is no member (any more). */
export const STALE = [409, 'stale-generation'] as const;

/** What of a membership stays as it is while nothing happens. Its lease does not, and its partitions have no order. */
function standing(membership: Membership): Membership {
  return { ...membership, assignment: byPartition(membership), leaseMs: 0 };
}

/** A member's partitions by index, each with where to begin. */
export function byPartition({ assignment }: Membership): { topic: string; partition: number; offset: number }[] {
  return [...assignment].sort((a, b) => a.partition - b.partition);
}
