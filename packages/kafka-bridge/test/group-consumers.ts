import { readProvenance } from '../src/message/headers.js';
import { bounded } from '../src/async/bounded.js';
import type { Legs } from './audit-legs.js';

const WITHIN_MS = 30_000;

/**
 * Consumes up to `counts[partition]` messages of each partition by an ordinary consumer of a Kafka group, from its
 * commits on, else from the begin; commits, and leaves. Returns ids of the library, in the order of delivery.
 */
export async function consumeKafka(legs: Legs, group: string, topic: string, counts: number[]): Promise<string[]> {
  const consumer = legs.kafka.consumer({ groupId: group, maxWaitTimeInMs: 100 });
  const ids: string[] = [];
  const next = new Map<number, number>();
  const left = [...counts];
  let resolve = (): void => undefined;
  const done = new Promise<void>((settle) => {
    resolve = settle;
  });
  const settleWhenDone = (): void => {
    if (left.every((count) => count === 0)) resolve();
  };
  settleWhenDone();
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  try {
    await consumer.run({
      autoCommit: false,
      eachMessage: (payload) => {
        const { partition, message } = payload;
        if ((left[partition] ?? 0) > 0) {
          left[partition] = (left[partition] ?? 0) - 1;
          ids.push(readProvenance(message.headers).id ?? '');
          next.set(partition, Number(message.offset) + 1);
        } else {
          payload.pause();
        }
        settleWhenDone();
        return Promise.resolve();
      },
    });
    await bounded(done, WITHIN_MS, () => new Error(`Did not come, by partition: ${left.join(', ')}.`));
    await consumer.commitOffsets(
      [...next].map(([partition, offset]) => ({ topic, partition, offset: String(offset) })),
    );
  } finally {
    await consumer.disconnect();
  }
  return ids;
}

/** Consumes a topic as a member of an OwlMQ group, from its commits on, up to `counts[partition]` or all; commits, and leaves. */
export async function consumeOwlmq(legs: Legs, group: string, topic: string, counts?: number[]): Promise<string[]> {
  const request = { topics: [topic], clientId: 'test', sessionTimeoutMs: 10_000, offsetReset: 'latest' as const };
  let member = await legs.owlmq.joinGroup(group, request);
  while (member.state !== 'stable') {
    member = await legs.owlmq.joinGroup(group, { ...request, memberId: member.memberId });
  }
  const ids: string[] = [];
  for (const { partition, offset } of member.assignment) {
    const records = (await legs.owlmqRecords(topic, partition)).filter((record) => record.offset >= offset);
    const taken = records.slice(0, counts?.[partition]);
    ids.push(...taken.map(({ id }) => id));
    const position = taken.at(-1)?.offset;
    if (position === undefined) continue;
    await legs.owlmq.commit(group, member.memberId, member.generation, [{ topic, partition, offset: position + 1 }]);
  }
  await legs.owlmq.leaveGroup(group, member.memberId);
  return ids;
}
