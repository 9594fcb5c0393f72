import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import type { Finding } from '../src/preflight/finding.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { Legs, messages } from './audit-legs.js';
import { runHere, type CliOutcome } from './cli-harness.js';

const API_KEY = 'test-key';
const LARGE = 8 * 1_024 * 1_024;

let legs: Legs;
let admin: ClusterAdmin;
let folder: string;
const created: string[] = [];

beforeAll(async () => {
  legs = await Legs.start();
  admin = new ClusterAdmin(legs.connection, { clientId: 'preflight-test' });
  folder = await mkdtemp(join(tmpdir(), 'preflight-'));
  vi.stubEnv('OWLMQ_API_KEY', API_KEY);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await legs.admin.deleteTopics({ topics: created });
  await admin.close();
  await legs.stop();
  await rm(folder, { recursive: true });
});

/** A topic in Kafka alone. */
async function topic(configs: Record<string, string> = {}): Promise<string> {
  const name = `preflight-${randomUUID()}`;
  await admin.createTopic(name, { partitions: 1, configs: { 'retention.ms': '-1', ...configs } });
  created.push(name);
  await vi.waitFor(() => legs.reader.bounds(name), { timeout: 15_000 });
  return name;
}

async function group(on: string): Promise<string> {
  const name = `preflight-${randomUUID()}`;
  await admin.setGroupOffsets(name, [{ topic: on, partition: 0, offset: 0 }]);
  return name;
}

async function preflight(input: object, ...args: string[]): Promise<CliOutcome> {
  const file = join(folder, 'migration.json');
  await writeFile(file, JSON.stringify(input));
  const systems = ['--kafka-brokers', legs.connection.brokers.join(','), '--owlmq-url', legs.server.url];
  return await runHere(['preflight', '--input', file, ...systems, ...args]);
}

describe('preflight', () => {
  it('tells every fault of a cluster at once, with what to do', async () => {
    const routing = new RoutingWriter({ connection: legs.connection, clientId: 'preflight-test' });
    const own = `preflight-${randomUUID()}`;
    const [brief, small, compacted, large, uneven, foreign, routed, elsewhere] = [
      await topic({ 'retention.ms': '3600000' }),
      await topic({ 'retention.bytes': '1000000' }),
      await topic({ 'cleanup.policy': 'compact' }),
      await topic({ 'max.message.bytes': String(LARGE) }),
      await topic(),
      await topic(),
      await topic(),
      await topic(),
    ];
    await legs.owlmq.createTopic(uneven, 3);
    await legs.toKafka(
      foreign,
      messages(3).map((message) => ({ ...message, foreign: true })),
    );
    const [wide, joined] = [await group(brief), await group(small)];
    await admin.setGroupOffsets(wide, [{ topic: elsewhere, partition: 0, offset: 0 }]);
    await legs.owlmq.joinGroup(joined, {
      ...{ topics: [uneven], clientId: 'early-bird', sessionTimeoutMs: 30_000, offsetReset: 'earliest' },
    });
    const state = { version: 1, ratio: 1, mirror: true, shadow: 'off', leaseMs: 10_000, writtenAt: '', reason: 'test' };
    const at = { epoch: 3, groups: [wide], topics: [routed], live: 'kafka', primary: 'kafka' } as const;
    try {
      await routing.ensureTopics();
      await routing.write({ ...state, ...at, migration: `other-${own}` } as never);
      await routing.write({ ...state, ...at, migration: own, primary: 'owlmq', live: 'owlmq', topics: ['x'] } as never);
    } finally {
      await routing.close();
    }

    const input = {
      topics: [brief, small, compacted, large, uneven, foreign, routed, 'never-made'],
      groups: [wide, joined, 'nobody'],
    };
    const outcome = await preflight(input, '--migration', own);
    console.info(outcome.out);
    expect(outcome.code).toBe(3);
    const { findings } = JSON.parse((await preflight(input, '--migration', own, '--output', 'json')).out) as {
      findings: Finding[];
    };
    const planted: [Finding['kind'], RegExp][] = [
      ['input', /^Topic never-made does not exist/],
      ['input', /^Consumer group nobody does not exist/],
      ['input', new RegExp(`^Migration ${own} ran before and left epoch 3: primary owlmq`)],
      ['state', new RegExp(`^Topic ${brief} keeps records for 1 hour, less than`)],
      ['state', new RegExp(`^Topic ${uneven} has 3 partitions in OwlMQ and 1 in Kafka`)],
      ['state', new RegExp(`^Group ${joined} has members in OwlMQ: early-bird`)],
      ['state', new RegExp(`^Migration other-${own} routes ${routed} already`)],
      ['warning', new RegExp(`^Topic ${small} keeps 1000000 bytes of each partition`)],
      ['warning', new RegExp(`^Topic ${compacted} is compacted`)],
      ['warning', new RegExp(`^Topic ${large} takes batches of up to ${LARGE} bytes`)],
      ['warning', new RegExp(`^3 of the last 3 records of ${foreign} are of producers`)],
      ['warning', new RegExp(`^Group ${wide} has committed on topics that are not moved: ${elsewhere}`)],
      ['warning', new RegExp(`^Group ${wide} has no members`)],
      ['warning', new RegExp(`^Group ${joined} has no members`)],
    ];
    for (const [kind, what] of planted) {
      const found = findings.filter((finding) => what.test(finding.what));
      expect(
        found.map((finding) => finding.kind),
        String(what),
      ).toEqual([kind]);
      expect(found[0]?.todo.length, String(what)).toBeGreaterThan(10);
      expect(outcome.out).toMatch(new RegExp(what.source.slice(1)));
    }
    expect(findings).toHaveLength(planted.length);
  });

  it('finds nothing in the way of a migration that can begin', async () => {
    const name = await topic();
    const outcome = await preflight({ topics: [name], groups: [await group(name)] });
    expect(outcome.code).toBe(0);
    // Its consumers are not started yet.
    expect(outcome.out).toMatch(/has no members[\s\S]*\nNothing is in the way\.\n$/);
  });

  it('says of both systems that they do not answer', { timeout: 90_000 }, async () => {
    const file = join(folder, 'unreached.json');
    await writeFile(file, JSON.stringify({ topics: ['a'], groups: ['b'] }));
    const nowhere = ['--kafka-brokers', '127.0.0.1:1', '--owlmq-url', 'http://127.0.0.1:1'];
    const outcome = await runHere(['preflight', '--input', file, ...nowhere]);
    expect(outcome.code).toBe(5);
    expect(outcome.out).toContain('Kafka cannot be asked');
    expect(outcome.out).toContain('OwlMQ cannot be asked');
    expect(outcome.out).toContain('2 findings in the way');
  });

  it('is not begun with wrong input', async () => {
    const outcome = await runHere(['preflight', '--kafka-brokers', '', '--output', 'yaml']);
    expect(outcome.code).toBe(2);
    for (const part of ['--input must name', '--output must be', 'OWLMQ_URL']) expect(outcome.err).toContain(part);
  });
});
