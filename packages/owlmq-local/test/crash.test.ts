import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { OwlmqRecord, OwlmqStoredRecord } from '../../kafka-bridge/src/owlmq/owlmq-api.js';
import { OwlmqClient } from '../../kafka-bridge/src/owlmq/owlmq-client.js';
import { seededRandom } from './random.js';
import { ServerProcess } from './server-process.js';

const KEY = 'test-key';
const TOPIC = 'orders';
const PARTITIONS = 3;
const PUBLISHERS = 6;
const ROUNDS = 5;

interface Acknowledged {
  record: OwlmqRecord;
  partition: number;
  offset: number;
}

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'owlmq-crash-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Publishes until the server is gone; what it acknowledged goes to `acknowledged`, what it did not is returned. */
async function publishUntilGone(
  client: OwlmqClient,
  publisher: string,
  random: () => number,
  acknowledged: Acknowledged[],
): Promise<OwlmqRecord[]> {
  for (let batch = 0; ; batch++) {
    const records = Array.from({ length: 1 + Math.floor(random() * 40) }, (_, index): OwlmqRecord => {
      const id = `${publisher}/${batch}/${index}`;
      const value = createHash('sha512').update(id).digest();
      return {
        partition: Math.floor(random() * PARTITIONS),
        id,
        key: Buffer.from(publisher),
        value,
        headers: [],
        timestamp: batch,
      };
    });
    try {
      const results = await client.publish(TOPIC, records, { attempts: 1, timeoutMs: 20_000 });
      results.forEach((result, index) => {
        const record = records[index];
        if (!result.ok || record === undefined) throw new Error(`refused: ${JSON.stringify(result)}`);
        acknowledged.push({ record, partition: result.partition, offset: result.offset });
      });
    } catch (error) {
      if ((error as Error).name === 'OwlmqUnreachableError') return records;
      throw error;
    }
  }
}

async function readAll(client: OwlmqClient, partition: number): Promise<OwlmqStoredRecord[]> {
  const all: OwlmqStoredRecord[] = [];
  for (;;) {
    const { records } = await client.read(TOPIC, partition, all.length, { maxRecords: 5_000 });
    if (records.length === 0) return all;
    all.push(...records);
  }
}

it(
  'loses nothing that it acknowledged when it is killed under load, and keeps its order',
  { timeout: 120_000 },
  async () => {
    const random = seededRandom('crash');
    const acknowledged = new Map<string, Acknowledged[]>();
    const published = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      const server = await ServerProcess.start(folder, KEY);
      const client = new OwlmqClient({ url: server.url, apiKey: KEY, connections: PUBLISHERS });
      await client.createTopic(TOPIC, PARTITIONS);
      const names = Array.from({ length: PUBLISHERS }, (_, index) => `round${round}-publisher${index}`);
      const runs = names.map((name) => {
        const own: Acknowledged[] = [];
        acknowledged.set(name, own);
        return publishUntilGone(client, name, random, own);
      });
      await sleep(100 + random() * 600);
      await server.end('SIGKILL');
      const unknown = (await Promise.all(runs)).flat();
      await client.close();

      const restarted = await ServerProcess.start(folder, KEY);
      const reader = new OwlmqClient({ url: restarted.url, apiKey: KEY });
      const logs = await Promise.all(Array.from({ length: PARTITIONS }, (_, partition) => readAll(reader, partition)));
      for (const [partition, log] of logs.entries()) {
        expect(log.map(({ offset }) => offset)).toEqual(log.map((_, offset) => offset));
        expect((await reader.describeTopic(TOPIC))?.partitions[partition]?.endOffset).toBe(log.length);
      }
      for (const own of acknowledged.values()) {
        for (const { record, partition, offset } of own) {
          published.add(record.id);
          expect(logs[partition]?.[offset], record.id).toEqual({ ...record, offset });
        }
        for (let partition = 0; partition < PARTITIONS; partition++) {
          const offsets = own.filter((one) => one.partition === partition).map(({ offset }) => offset);
          expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
        }
      }
      for (const { id } of unknown) published.add(id);
      const ids = logs.flat().map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      expect(ids.filter((id) => !published.has(id))).toEqual([]);

      // Whatever became of the batches without an answer: repeating them writes each record once.
      const present = new Set(ids);
      const repeated = await reader.publish(TOPIC, unknown);
      expect(repeated.map((result) => result.ok && result.duplicate)).toEqual(unknown.map(({ id }) => present.has(id)));
      expect(await restarted.end('SIGTERM')).toEqual([0, null]);
      await reader.close();
    }
    const count = [...acknowledged.values()].flat().length;
    expect(count).toBeGreaterThan(0);
    process.stdout.write(`crash: ${count} acknowledged records over ${ROUNDS} kills, none lost\n`);
  },
);

it('stops when the disk is full, and has what it acknowledged', async () => {
  const server = await ServerProcess.start(folder, KEY, 4_000);
  const client = new OwlmqClient({ url: server.url, apiKey: KEY });
  await client.createTopic(TOPIC, 1);
  const batch = (number: number): OwlmqRecord[] =>
    Array.from({ length: 50 }, (_, index) => {
      return {
        partition: 0,
        id: `${number}/${index}`,
        key: null,
        value: Buffer.alloc(1_000),
        headers: [],
        timestamp: 0,
      };
    });
  let acknowledged = 0;
  const failure: unknown = await (async () => {
    for (; acknowledged < 1_000; acknowledged++) await client.publish(TOPIC, batch(acknowledged), { attempts: 1 });
  })().catch((error: unknown) => error);
  expect(failure).toMatchObject({ type: 'unavailable', status: 503, outcomeUnknown: true });
  expect(await server.exited).toEqual([3, null]);
  await client.close();

  const restarted = await ServerProcess.start(folder, KEY);
  const reader = new OwlmqClient({ url: restarted.url, apiKey: KEY });
  const ids = (await readAll(reader, 0)).map(({ id }) => id);
  expect(acknowledged).toBeGreaterThan(0);
  for (let number = 0; number < acknowledged; number++) {
    expect(ids.slice(number * 50, number * 50 + 50)).toEqual(batch(number).map(({ id }) => id));
  }
  const again = await reader.publish(TOPIC, batch(acknowledged));
  expect(again.map((result) => result.ok && result.offset)).toEqual(again.map((_, index) => acknowledged * 50 + index));
  await reader.close();
  await restarted.end('SIGTERM');
});
