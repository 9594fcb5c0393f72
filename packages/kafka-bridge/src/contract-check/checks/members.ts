import { pause } from '../../async/bounded.js';
import type { Contract } from '../../contract/index.js';
import type { Check } from '../check.js';
import { commit, describeGroup, fetchRecords, heartbeat, joinGroup, leaveGroup, setGroupOffsets } from '../requests.js';
import { aside, joinRequest, type Trial } from '../trial.js';
import { ContractBrokenError, holds, NotTriedError, same } from '../verdicts.js';
import { at } from './groups.js';

type Membership = Contract['Membership'];

/** How long after its end a lease, or a rebalance, may still be seen. */
const SLACK_MS = 5_000;
const LONG_POLL_MS = 8_000;
/** Attempts at what only shows while this process is not held up itself. */
const TIMED_ATTEMPTS = 3;

/** Life of members: assignments, generations, leases. */
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
      same('the second answer', { ...again, leaseMs: 0 }, { ...first, leaseMs: 0 });
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
      same('membership', { ...answer, leaseMs: 0 }, { ...member, leaseMs: 0 });
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
      const { head, records } = await trial.fetch(group, memberId, { generation, positions });
      same('state and generation', [head.membership.state, head.membership.generation], ['stable', generation]);
      const told = [...head.partitions].sort((a, b) => a.partition - b.partition);
      const expected = [
        [0, 4, 5],
        [2, 1, 5],
        [3, 0, 5],
      ];
      same(
        'partition, count, end offset',
        told.map(({ partition, count, endOffset }) => [partition, count, endOffset]),
        expected,
      );
      const order = head.partitions.flatMap(({ partition, count }) => Array.from({ length: count }, () => partition));
      same(
        'partitions of the records',
        records.map(({ partition }) => partition),
        order,
      );
      const offsets = (wanted: number): number[] =>
        records.filter(({ partition }) => partition === wanted).map(({ offset }) => offset);
      same('offsets', [offsets(0), offsets(2)], [[1, 2, 3, 4], [4]]);
      const few = await trial.fetch(group, memberId, { generation, positions, maxRecords: 2 });
      same('records with maxRecords 2', few.records.length, 2);
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
    name: 'members.lease-ends',
    section: 'Groups',
    expected: 'a silent member is removed when its lease ends, not before; what it sends then is refused with 409',
    needs: ['members.heartbeat', 'members.commit'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('lease-ends');
      const { leaseMs } = trial.endpoint;
      const { memberId, generation, granted, ms } = await silentMember(trial, group, topic, leaseMs);
      holds(granted <= leaseMs, `leaseMs is ${granted}, more than the ${leaseMs} that were asked for`);
      holds(ms >= leaseMs, `the member was removed after ${Math.round(ms)} ms of ${leaseMs}`);
      await trial.refused(commit(group, memberId, generation, [at(topic, 0, 2)]), ...STALE, 'a lease that is over');
      await trial.refused(heartbeat(group, memberId, generation), ...STALE, 'a lease that is over');
      same('committed offset', (await trial.committed(group))[`${topic}/0`], 1);
      const next = await trial.joinStable(group, topic);
      holds(next.generation > generation, `generation ${next.generation} came after ${generation}`);
      same('position of who comes next', byPartition(next)[0], at(topic, 0, 1));
      return `removed ${Math.round(ms)} ms after it was last heard, with a lease of ${leaseMs} ms; then HTTP 409`;
    },
  },
  {
    name: 'members.lease-renewed',
    section: 'Groups',
    expected: 'join, heartbeat, fetch and commit each renew the lease',
    needs: ['members.lease-ends', 'members.fetch', 'members.join-again'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const kinds = await Promise.all([
        staysMember(trial, topic, 'join', async (group, { memberId }, join) => {
          await trial.join(group, topic, { ...join, memberId });
        }),
        staysMember(trial, topic, 'heartbeat', async (group, { memberId, generation }) => {
          await trial.heartbeat(group, memberId, generation);
        }),
        staysMember(trial, topic, 'fetch', async (group, { memberId, generation }) => {
          await trial.fetch(group, memberId, { generation, positions: [] });
        }),
        staysMember(trial, topic, 'commit', async (group, { memberId, generation }) => {
          await trial.ok(commit(group, memberId, generation, [at(topic, 0, 1)]), 204);
        }),
      ]);
      return `past ${trial.endpoint.leaseMs} ms each was kept by its ${kinds.join(', ')}`;
    },
  },
  {
    name: 'members.rebalance-ends',
    section: 'Groups',
    expected:
      'a rebalance ends when it has lasted the longest session: who has not joined again is removed, though it sends heartbeats',
    needs: ['members.rebalance', 'members.lease-ends'],
    async run(trial) {
      const topic = await trial.groupTopic();
      const group = trial.name('rebalance-ends');
      const sessionTimeoutMs = trial.endpoint.leaseMs;
      const idle = await trial.joinStable(group, topic, { sessionTimeoutMs });
      const started = performance.now();
      const joining = aside(trial.joinStable(group, topic, { sessionTimeoutMs }));
      await trial.told(group, idle);
      await trial.until(
        'the end of the rebalance',
        async () => {
          const answer = await trial.send(heartbeat(group, idle.memberId, idle.generation));
          return answer.status === 200 ? undefined : answer;
        },
        sessionTimeoutMs + SLACK_MS,
      );
      const second = await joining;
      const ms = performance.now() - started;
      same('partitions of the one that joined', byPartition(second).length, 4);
      await trial.refused(
        heartbeat(group, idle.memberId, idle.generation),
        ...STALE,
        'the member that did not join again',
      );
      return `ended after ${Math.round(ms)} ms with a session of ${sessionTimeoutMs} ms; the other one has all partitions`;
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

const STALE = [409, 'stale-generation'] as const;

/** A member's partitions by index, each with where to begin. */
function byPartition({ assignment }: Membership): { topic: string; partition: number; offset: number }[] {
  return [...assignment].sort((a, b) => a.partition - b.partition);
}

/** A member that commits offset 1 of partition 0 and is not heard any more; `ms` is how long it was still there. */
async function silentMember(
  trial: Trial,
  group: string,
  topic: string,
  sessionTimeoutMs: number,
): Promise<{ memberId: string; generation: number; granted: number; ms: number }> {
  const member = await trial.joinStable(group, topic, { sessionTimeoutMs });
  const { memberId, generation, leaseMs: granted } = member;
  const heard = performance.now();
  await trial.ok(commit(group, memberId, generation, [at(topic, 0, 1)]), 204);
  const isThere = async (): Promise<boolean> =>
    (await trial.describeGroup(group)).members.some((one) => one.memberId === memberId);
  const gone = async (): Promise<true | undefined> => ((await isThere()) ? undefined : true);
  await trial.until('the end of the lease', gone, sessionTimeoutMs + SLACK_MS);
  return { memberId, generation, granted, ms: performance.now() - heard };
}

/** Proves that one kind of request keeps a member past its lease. Resolves with the kind. */
async function staysMember(
  trial: Trial,
  topic: string,
  kind: string,
  renew: (group: string, member: Membership, join: { sessionTimeoutMs: number }) => Promise<void>,
): Promise<string> {
  const { leaseMs } = trial.endpoint;
  const join = { sessionTimeoutMs: leaseMs };
  for (let attempt = 1; attempt <= TIMED_ATTEMPTS; attempt++) {
    const group = trial.name(`renewed-${kind}`);
    const joined = performance.now();
    const member = await trial.joinStable(group, topic, join);
    await pause(leaseMs * 0.6, trial.signal);
    const renewed = performance.now();
    // Whoever was held up for that long has nothing to renew.
    if (renewed - joined > leaseMs * 0.9) continue;
    await renew(group, member, join);
    await pause(leaseMs * 0.6, trial.signal);
    const answer = await trial.send(describeGroup(group));
    if (performance.now() - renewed > leaseMs * 0.95) continue;
    const text = answer.body.toString('utf8');
    const kept = answer.status === 200 && text.includes(JSON.stringify(member.memberId));
    holds(
      kept,
      `the member was removed ${Math.round(leaseMs * 0.6)} ms after its ${kind}, with a lease of ${leaseMs} ms`,
    );
    await trial.leave(group, member.memberId);
    return kind;
  }
  throw new NotTriedError(`requests take too long here for leases of ${leaseMs} ms`);
}
