import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JoinRequest, Membership } from '../../kafka-bridge/src/owlmq/owlmq-api.js';
import { OwlmqClient } from '../../kafka-bridge/src/owlmq/owlmq-client.js';
import { OwlmqGroupNotEmptyError, OwlmqStaleGenerationError } from '../../kafka-bridge/src/owlmq/owlmq-errors.js';
import { startOwlmqLocal, type OwlmqLocal } from '../src/index.js';
import { seededRandom } from './random.js';

const TOPIC = 'orders';
const PARTITIONS = 4;
const GROUP = 'payment-service';
const KEY = 'test-key';

let folder: string;
let server: OwlmqLocal;
let client: OwlmqClient;

async function start(): Promise<void> {
  server = await startOwlmqLocal({ data: folder, apiKeys: [KEY] });
  client = new OwlmqClient({ url: server.url, apiKey: KEY });
}

async function stop(): Promise<void> {
  await client.close();
  await server.close();
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'owlmq-groups-'));
  await start();
  await client.createTopic(TOPIC, PARTITIONS);
});

afterEach(async () => {
  await stop();
  await rm(folder, { recursive: true });
});

function joinAs(change: Partial<JoinRequest> = {}): Promise<Membership> {
  return client.joinGroup(GROUP, {
    topics: [TOPIC],
    clientId: 'test',
    sessionTimeoutMs: 20_000,
    offsetReset: 'earliest',
    ...change,
  });
}

function partitionsOf({ assignment }: Membership): number[] {
  return assignment.map(({ partition }) => partition).sort();
}

/** Two members that share the topic, by the protocol: the first is told, commits, and joins again. */
async function twoMembers(sessionTimeoutMs = 20_000): Promise<[Membership, Membership]> {
  const alone = await joinAs({ sessionTimeoutMs });
  const joining = joinAs({ sessionTimeoutMs });
  const told = client.fetch(GROUP, alone.memberId, alone.generation, { positions: alone.assignment, waitMs: 60_000 });
  expect((await told).membership.state).toBe('rebalancing');
  const first = await joinAs({ sessionTimeoutMs, memberId: alone.memberId });
  return [first, await joining];
}

describe('a group', () => {
  it('shares partitions between members, and refuses the generation before', async () => {
    const alone = await joinAs();
    expect(partitionsOf(alone)).toEqual([0, 1, 2, 3]);
    const joining = joinAs();
    await expect
      .poll(async () => (await client.heartbeat(GROUP, alone.memberId, alone.generation)).state)
      .toBe('rebalancing');
    expect((await client.describeGroup(GROUP))?.state).toBe('rebalancing');

    // The last commit of the old generation.
    await client.setGroupOffsets('other', [{ topic: TOPIC, partition: 0, offset: 0 }]);
    await client.commit(GROUP, alone.memberId, alone.generation, [{ topic: TOPIC, partition: 0, offset: 0 }]);
    const first = await joinAs({ memberId: alone.memberId });
    const second = await joining;
    expect(first).toMatchObject({ memberId: alone.memberId, generation: alone.generation + 1, state: 'stable' });
    expect(second).toMatchObject({ generation: alone.generation + 1, state: 'stable' });
    expect([...partitionsOf(first), ...partitionsOf(second)].sort()).toEqual([0, 1, 2, 3]);
    expect(partitionsOf(first)).toHaveLength(2);

    const commit = [{ topic: TOPIC, partition: partitionsOf(first)[0] ?? 0, offset: 0 }];
    await expect(client.commit(GROUP, first.memberId, alone.generation, commit)).rejects.toBeInstanceOf(
      OwlmqStaleGenerationError,
    );
    await expect(client.commit(GROUP, second.memberId, second.generation, commit)).rejects.toBeInstanceOf(
      OwlmqStaleGenerationError,
    );
    await client.commit(GROUP, first.memberId, first.generation, commit);
  });

  it('gives the partitions of a member that falls silent to the others, not before its lease ends', async () => {
    const [silent, alive] = await twoMembers(1_500);
    const granted = performance.now();
    await client.heartbeat(GROUP, silent.memberId, silent.generation);
    await expect
      .poll(async () => (await client.heartbeat(GROUP, alive.memberId, alive.generation)).state, {
        interval: 50,
        timeout: 30_000,
      })
      .toBe('rebalancing');
    expect(performance.now() - granted).toBeGreaterThanOrEqual(1_500);
    const heir = await joinAs({ memberId: alive.memberId, sessionTimeoutMs: 1_500 });
    expect(partitionsOf(heir)).toEqual([0, 1, 2, 3]);
    const commit = client.commit(GROUP, silent.memberId, silent.generation, [
      { topic: TOPIC, partition: 0, offset: 0 },
    ]);
    await expect(commit).rejects.toBeInstanceOf(OwlmqStaleGenerationError);
  });

  it('ends a rebalance without a member that does not join again, and never lets it believe otherwise', async () => {
    const stubborn = await joinAs({ sessionTimeoutMs: 1_000 });
    const joining = joinAs({ sessionTimeoutMs: 1_000 });
    let owned = performance.now();
    for (;;) {
      const asked = performance.now();
      const answer = await client
        .heartbeat(GROUP, stubborn.memberId, stubborn.generation)
        .catch((error: unknown) => error);
      if (answer instanceof OwlmqStaleGenerationError) break;
      owned = Math.max(owned, asked + (answer as Membership).leaseMs);
      await sleep(20);
    }
    // The member that waits may have to ask again: a request waits for a part of the lease only.
    let heir = await joining;
    while (heir.state === 'rebalancing') heir = await joinAs({ memberId: heir.memberId, sessionTimeoutMs: 1_000 });
    expect(performance.now()).toBeGreaterThanOrEqual(owned);
    expect(partitionsOf(heir)).toEqual([0, 1, 2, 3]);
  });

  it('hands partitions over at once when a member leaves', async () => {
    const [leaver, stayer] = await twoMembers();
    await client.leaveGroup(GROUP, leaver.memberId);
    expect((await client.heartbeat(GROUP, stayer.memberId, stayer.generation)).state).toBe('rebalancing');
    expect(partitionsOf(await joinAs({ memberId: stayer.memberId }))).toEqual([0, 1, 2, 3]);
    await client.leaveGroup(GROUP, stayer.memberId);
    expect((await client.describeGroup(GROUP)) ?? 'gone').toBe('gone');
    expect((await joinAs()).generation).toBeGreaterThan(stayer.generation + 1);
  });

  it('does not rebalance when a join is repeated because its answer got lost', async () => {
    const member = await joinAs({ memberId: 'chosen' });
    expect(await joinAs({ memberId: 'chosen' })).toMatchObject({
      generation: member.generation,
      assignment: member.assignment,
    });
  });

  it('keeps generation, members and offsets over a restart', async () => {
    const [first, second] = await twoMembers();
    await client.publish(TOPIC, [
      { partition: partitionsOf(first)[0] ?? 0, id: 'a', key: null, value: null, headers: [], timestamp: 0 },
    ]);
    const offsets = [{ topic: TOPIC, partition: partitionsOf(first)[0] ?? 0, offset: 1 }];
    await client.commit(GROUP, first.memberId, first.generation, offsets);
    const before = await client.describeGroup(GROUP);
    await stop();
    await start();
    expect(await client.describeGroup(GROUP)).toEqual(before);
    await expect(client.setGroupOffsets(GROUP, offsets)).rejects.toBeInstanceOf(OwlmqGroupNotEmptyError);
    expect(await client.heartbeat(GROUP, second.memberId, second.generation)).toMatchObject({
      assignment: second.assignment,
    });
    await client.commit(GROUP, first.memberId, first.generation, offsets);
    await client.leaveGroup(GROUP, second.memberId);
    expect((await joinAs({ memberId: first.memberId })).generation).toBeGreaterThan(first.generation);
  });

  it('never has two owners of a partition, whatever members do', async () => {
    const random = seededRandom('owners');
    const ends = performance.now() + 6_000;
    /** Until when each partition is someone's, by that one's own reckoning. */
    const owners = new Map<number, { memberId: string; until: number }>();
    const clashes: string[] = [];
    let grants = 0;

    function own(membership: Membership, asked: number): void {
      const { memberId, leaseMs } = membership;
      for (const partition of partitionsOf(membership)) {
        const other = owners.get(partition);
        if (other !== undefined && other.memberId !== memberId && other.until > performance.now()) {
          clashes.push(
            `${partition} of ${other.memberId} was given to ${memberId} ${other.until - performance.now()} ms early`,
          );
        }
        owners.set(partition, { memberId, until: asked + leaseMs });
        grants++;
      }
    }
    function disown(memberId: string): void {
      for (const [partition, owner] of owners) if (owner.memberId === memberId) owners.delete(partition);
    }
    async function live(index: number): Promise<void> {
      const memberId = `member${index}-${Math.floor(random() * 1e9)}`;
      const request = { memberId, sessionTimeoutMs: 400 };
      let asked = performance.now();
      let membership = await joinAs(request);
      while (performance.now() < ends) {
        if (membership.state === 'rebalancing') {
          // It gives up what it has by joining again, not before.
          disown(memberId);
          asked = performance.now();
          membership = await joinAs(request);
          continue;
        }
        own(membership, asked);
        const dice = random();
        if (dice < 0.05) {
          disown(memberId);
          await client.leaveGroup(GROUP, memberId);
          return;
        }
        // Silent past its lease; what it owned stays its own until the lease is over.
        if (dice < 0.1) return;
        await sleep(random() * 150);
        asked = performance.now();
        try {
          membership = await client.heartbeat(GROUP, memberId, membership.generation);
          if (membership.state === 'rebalancing' && random() < 0.5) {
            own(membership, asked);
            await sleep(random() * 300);
          }
        } catch (error) {
          if (!(error instanceof OwlmqStaleGenerationError)) throw error;
          disown(memberId);
          return;
        }
      }
    }
    const lives = Array.from({ length: 4 }, async (_, index) => {
      while (performance.now() < ends) await live(index);
    });
    await Promise.all(lives);
    expect(clashes).toEqual([]);
    expect(grants).toBeGreaterThan(PARTITIONS);
  });
});
