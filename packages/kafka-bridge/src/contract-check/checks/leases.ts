import { pause } from '../../async/bounded.js';
import type { Contract } from '../../contract/index.js';
import type { Check } from '../check.js';
import { answerShown, membershipSchema, shaped } from '../answers.js';
import { commit, describeGroup, heartbeat } from '../requests.js';
import { aside, type Trial } from '../trial.js';
import { holds, NotTriedError, same } from '../verdicts.js';
import { at } from './groups.js';
import { byPartition, STALE } from './members.js';

/** How long after its end a lease, or a rebalance, may still be seen. */
const SLACK_MS = 5_000;
const ATTEMPTS = 3;
/** Whoever was held up for this part of a lease cannot tell what ended it. */
const HELD_UP = 0.9;

/** Leases, and rebalances that end by time. Tried with leases of the endpoint's `leaseMs`. */
export const leaseChecks: readonly Check[] = [
  {
    name: 'members.lease-ends',
    section: 'Groups',
    expected: 'a silent member is removed when its lease ends, not before; what it sends then is refused with 409',
    needs: ['members.heartbeat', 'members.commit'],
    async run(trial) {
      const { leaseMs } = trial.endpoint;
      const topic = await trial.groupTopic();
      const { group, member, ms } = await undisturbed(trial, () => silentMember(trial, topic));
      const { memberId, generation } = member;
      holds(member.leaseMs <= leaseMs, `leaseMs is ${member.leaseMs}, more than the ${leaseMs} that were asked for`);
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
      const { leaseMs } = trial.endpoint;
      const renewals: Record<string, Renew> = {
        join: (group, { memberId }) => trial.join(group, topic, { memberId, sessionTimeoutMs: leaseMs }),
        heartbeat: (group, { memberId, generation }) => trial.heartbeat(group, memberId, generation),
        fetch: (group, { memberId, generation }) => trial.fetch(group, memberId, { generation, positions: [] }),
        commit: (group, { memberId, generation }) =>
          trial.ok(commit(group, memberId, generation, [at(topic, 0, 1)]), 204),
      };
      await Promise.all(
        Object.entries(renewals).map(([kind, renew]) =>
          undisturbed(trial, () => renewedMember(trial, topic, kind, renew)),
        ),
      );
      return `past ${leaseMs} ms each of four members was kept by its ${Object.keys(renewals).join(', ')}`;
    },
  },
  {
    name: 'members.rebalance-ends',
    section: 'Groups',
    expected:
      'a rebalance ends when it has lasted the longest session, not before: who has not joined again is removed, though it sends heartbeats',
    needs: ['members.rebalance', 'members.lease-ends'],
    async run(trial) {
      const { leaseMs } = trial.endpoint;
      const topic = await trial.groupTopic();
      const { group, idle, second, ms } = await undisturbed(trial, () => rebalanceWithoutOne(trial, topic));
      holds(ms >= leaseMs, `it ended after ${Math.round(ms)} ms of ${leaseMs}`);
      same('partitions of the one that joined', byPartition(second).length, 4);
      const late = heartbeat(group, idle.memberId, idle.generation);
      await trial.refused(late, ...STALE, 'the member that did not join again');
      return `ended after ${Math.round(ms)} ms with a session of ${leaseMs} ms; the other one has all partitions`;
    },
  },
];

type Membership = Contract['Membership'];
type Renew = (group: string, member: Membership) => Promise<unknown>;

/** Tries what shows only while this process is not held up itself; an attempt that was resolves with undefined. */
async function undisturbed<T>({ endpoint }: Trial, attempt: () => Promise<T | undefined>): Promise<T> {
  for (let times = 0; times < ATTEMPTS; times++) {
    const result = await attempt();
    if (result !== undefined) return result;
  }
  throw new NotTriedError(`requests, or this machine, are too slow for leases of ${endpoint.leaseMs} ms: see --lease`);
}

/** A member that commits offset 1 of partition 0 and is not heard any more; `ms` is how long it was still there. */
async function silentMember(
  trial: Trial,
  topic: string,
): Promise<{ group: string; member: Membership; ms: number } | undefined> {
  const { leaseMs } = trial.endpoint;
  const group = trial.name('lease-ends');
  const joined = performance.now();
  const member = await trial.joinStable(group, topic, { sessionTimeoutMs: leaseMs });
  const { memberId, generation } = member;
  const heard = performance.now();
  const committed = await trial.send(commit(group, memberId, generation, [at(topic, 0, 1)]));
  if (committed.status !== 204 && performance.now() - joined > leaseMs * HELD_UP) return undefined;
  holds(committed.status === 204, `commit: ${answerShown(committed)}`);
  await trial.until(
    'the end of the lease',
    async () => {
      const { members } = await trial.describeGroup(group);
      return members.some((one) => one.memberId === memberId) ? undefined : true;
    },
    leaseMs + SLACK_MS,
  );
  return { group, member, ms: performance.now() - heard };
}

/** Whether one kind of request keeps a member past its lease. */
async function renewedMember(trial: Trial, topic: string, kind: string, renew: Renew): Promise<true | undefined> {
  const { leaseMs } = trial.endpoint;
  const part = leaseMs * 0.6;
  const group = trial.name(`renewed-${kind}`);
  const joined = performance.now();
  const member = await trial.joinStable(group, topic, { sessionTimeoutMs: leaseMs });
  await pause(part, trial.signal);
  const renewed = performance.now();
  try {
    await renew(group, member);
  } catch (error) {
    if (performance.now() - joined > leaseMs * HELD_UP) return undefined;
    throw error;
  }
  await pause(part, trial.signal);
  const answer = await trial.send(describeGroup(group));
  const kept = answer.status === 200 && answer.body.includes(JSON.stringify(member.memberId));
  if (!kept && performance.now() - renewed > leaseMs * HELD_UP) return undefined;
  holds(kept, `the member was removed within ${Math.round(part)} ms of its ${kind}, with a lease of ${leaseMs} ms`);
  await trial.leave(group, member.memberId);
  return true;
}

/** Two members, of which the first sends heartbeats and does not join again; `ms` is how long the second one waited. */
async function rebalanceWithoutOne(
  trial: Trial,
  topic: string,
): Promise<{ group: string; idle: Membership; second: Membership; ms: number } | undefined> {
  const { leaseMs } = trial.endpoint;
  const group = trial.name('rebalance-ends');
  let heard = performance.now();
  const idle = await trial.joinStable(group, topic, { sessionTimeoutMs: leaseMs });
  const started = performance.now();
  const joining = aside(trial.joinStable(group, topic, { sessionTimeoutMs: leaseMs }));
  let told = false;
  for (;;) {
    const sent = performance.now();
    const answer = await trial.send(heartbeat(group, idle.memberId, idle.generation));
    if (answer.status !== 200) break;
    heard = sent;
    told ||= shaped(answer, membershipSchema).state === 'rebalancing';
    holds(sent - started < leaseMs + SLACK_MS, `it goes on after ${Math.round(sent - started)} ms`);
    await pause(leaseMs / 10, trial.signal);
  }
  const disturbed = performance.now() - heard > leaseMs * HELD_UP;
  const second = await joining;
  const ms = performance.now() - started;
  if (disturbed) return undefined;
  holds(told, 'the member was removed, and no heartbeat had said that the group is rebalancing');
  return { group, idle, second, ms };
}
