import { execFile, spawnSync } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MockActivityEnvironment } from '@temporalio/testing';
import {
  ClusterAdmin,
  LogReader,
  MemberRoster,
  observationSchema,
  OBSERVATIONS_TOPIC,
  OutputDigester,
  type KafkaConnection,
  type Observation,
} from '@owlmq/kafka-bridge/operations';
import {
  ObservationComparison,
  type ComparisonReport,
  type GroupComparison,
} from '../../packages/kafka-bridge/src/comparator/observation-log.js';
import { DualConsumer } from '../../packages/kafka-bridge/src/consumer/dual-consumer.js';
import { Bench, until } from '../../packages/kafka-bridge/test/consumer-harness.js';
import { TcpProxy } from '../../packages/kafka-bridge/test/tcp-proxy.js';
import { fleetActivities } from '../../src/activities/fleet.js';
import type { AwaitConsumersRequest } from '../../src/activities/migration-activities.js';
import { startObservationEndpoint, type ObservationEndpoint } from '../../src/endpoint/observation-endpoint.js';
import { HttpConsumer, type SimpleMessage } from './http-consumer.js';

const TOKEN = randomBytes(16).toString('hex');
const DIGEST_KEY = 'a key of the tests';
const LEASE_MS = 3_000;

interface Problem {
  type: string;
  detail: string;
  problems?: { at: string; problem: string }[];
}

const trialInPython = `
import json, sys
from endpoint import Endpoint, Refused

url, token, migration, group, topic = json.loads(sys.argv[1])
endpoint = Endpoint(url, token, migration, "python")
endpoint.report(group=group, epoch=0, only="live", state="idle", shadow=False, applied=0, failed=0)

def observation(offset, output, **more):
    return {"group": group, "side": "live", "topic": topic, "partition": 0, "id": f"p-{offset}", "kafka": offset,
            "time": 1, "key": "a2V5", "epoch": endpoint.routing["epoch"], "output": output, **more}

output = {"list": [0.1, None, True], "nested": {"a": {}, "b": 1.0}, "big": 2**70 + 1, "many": 2**53, "float": 1e22,
          "text": "\\u00e9\\u2028", "at": 17}
endpoint.observe([observation(1, output), observation(2, "second")], ["/at"])
refused = []
for wrong in ({"partition": "0"}, {"group": "strangers"}):
    try:
        endpoint.observe([observation(3, None, **wrong)])
    except Refused as error:
        refused.append(error.type)
endpoint.leave()
print(json.dumps({"epoch": endpoint.routing["epoch"], "leased": endpoint.leased(), "refused": refused}))
`;

/** What an endpoint holds that is closed with it. */
interface Opened {
  endpoint: ObservationEndpoint;
  reader: LogReader;
  roster: MemberRoster;
  close: () => Promise<void>;
}

const log: string[] = [];

async function openEndpoint(connection: KafkaConnection): Promise<Opened> {
  const reader = new LogReader(connection, { clientId: 'endpoint-test', retryForMs: 1_000 });
  const roster = new MemberRoster({ connection, clientId: 'endpoint-test' });
  await roster.start();
  const endpoint = await startObservationEndpoint(
    { host: '127.0.0.1', port: 0, tokens: ['an-older-token-of-these', TOKEN], digestKey: DIGEST_KEY },
    { kafka: connection, reader, roster, logger: pino({ level: 'trace' }, { write: (line) => log.push(line) }) },
  );
  const close = async (): Promise<void> => {
    await endpoint.close();
    await Promise.all([roster.stop(), reader.close()]);
  };
  return { endpoint, reader, roster, close };
}

describe('the observation endpoint', () => {
  let bench: Bench;
  let opened: Opened;
  const clients: { kill: () => Promise<void> }[] = [];
  const comparisons: ObservationComparison[] = [];

  beforeAll(async () => {
    bench = await Bench.open(2);
    await bench.route({ groups: [bench.group, `${bench.group}-library`], leaseMs: LEASE_MS });
    opened = await openEndpoint(bench.connection);
  });

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.kill()));
    await Promise.all(comparisons.splice(0).map((comparison) => comparison.close()));
  });

  afterAll(async () => {
    await opened.close();
    await bench.close();
  });

  async function ask(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` },
    url = opened.endpoint.url,
  ): Promise<{ status: number; body: unknown; problem: Problem }> {
    const sent = typeof body === 'string' || body === undefined ? body : JSON.stringify(body);
    const answer = await fetch(`${url}/v1/migrations/${path}`, {
      method,
      headers: { ...(sent === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(sent === undefined ? {} : { body: sent }),
    });
    const text = await answer.text();
    const read = (text === '' ? undefined : JSON.parse(text)) as unknown;
    if (!answer.ok) expect(answer.headers.get('content-type')).toContain('application/problem+json');
    return { status: answer.status, body: read, problem: read as Problem };
  }

  function observation(change: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      ...{ group: bench.group, side: 'live', topic: bench.topic, partition: 0, id: 'm-1', kafka: 0 },
      ...{ time: 1, key: null, epoch: 1, output: { total: 1 }, ...change },
    };
  }

  function report(change: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      ...{ group: bench.group, epoch: 0, state: 'live-kafka', shadow: false, applied: 0, failed: 0 },
      ...{ known: { asOf: performance.timeOrigin + performance.now(), agoMs: 0 }, ...change },
    };
  }

  async function client(
    side: 'live' | 'shadow',
    process: (message: SimpleMessage) => string,
    group = bench.group,
  ): Promise<HttpConsumer> {
    const { owlmq } = bench.options();
    const made = new HttpConsumer({
      ...{ url: opened.endpoint.url, token: TOKEN, migration: bench.migration, group, topic: bench.topic, side },
      ...{ brokers: bench.connection.brokers, owlmq, process },
    });
    clients.push(made);
    await made.start();
    return made;
  }

  /** What was stored of the migration behind some ends of the topic; that of a partition in its order. */
  async function storedSince(ends: readonly number[]): Promise<{ text: string; read: Observation }[]> {
    const stored: { text: string; read: Observation }[] = [];
    for (const [partition, end] of ends.entries()) {
      for await (const { key, value } of bench.reader.readToEnd(OBSERVATIONS_TOPIC, partition, end)) {
        if (key?.toString().startsWith(`${bench.migration}/`) !== true) continue;
        const text = value?.toString() ?? '';
        stored.push({ text, read: observationSchema.parse(JSON.parse(text)) });
      }
    }
    return stored;
  }

  function comparison(groups: string[]): ObservationComparison {
    const made = new ObservationComparison({
      ...{ connection: bench.connection, migration: bench.migration, groups, latenessMs: 1_000, roster: bench.roster },
      from: bench.state?.shadowFrom ?? {},
    });
    comparisons.push(made);
    return made;
  }

  async function untilCompared(
    compare: ObservationComparison,
    group: string,
    holds: (group: GroupComparison) => boolean,
  ): Promise<GroupComparison> {
    let last: ComparisonReport | undefined;
    return await until(
      async () => {
        last = await compare.step();
        const found = last.groups[group];
        return found !== undefined && holds(found) ? found : undefined;
      },
      () => JSON.stringify(last?.groups),
    );
  }

  /** Members observe first; then the comparison starts at Kafka's ends. */
  async function startComparing(group: string, members: number): Promise<void> {
    const ofGroup = async (epoch: number): Promise<true | undefined> => {
      const following = (await bench.reports()).filter((one) => one.group === group && one.epoch === epoch);
      return following.length === members ? true : undefined;
    };
    const observing = await bench.route({ shadow: 'observe' }, ['shadowFrom']);
    await until(() => ofGroup(observing.epoch));
    const ends = await bench.reader.ends(bench.topic);
    const state = await bench.route({ shadow: 'compare', shadowFrom: { [bench.topic]: ends } });
    await until(() => ofGroup(state.epoch));
  }

  /** As a worker waits for the consumers of the group, but not for long. */
  async function consumersWithShadows(): Promise<unknown> {
    const { reader, roster } = opened;
    const admin = new ClusterAdmin(bench.connection, { clientId: 'endpoint-test' });
    const steps = fleetActivities({ reader, roster, admin, owlmq: bench.owlmq });
    const { migration, group, state } = bench;
    const request: AwaitConsumersRequest = {
      ...{ migration, groups: [group], epoch: state?.epoch ?? 0, state: 'live-kafka', shadow: true },
    };
    try {
      return await new MockActivityEnvironment({ startToCloseTimeoutMs: 4_000 }).run(() =>
        steps.awaitConsumers(request),
      );
    } finally {
      await admin.close();
    }
  }

  it('refuses what it should not take, in words, with all problems of a body at once', async () => {
    const { migration, topic, group } = bench;
    const at = `${migration}/observations`;
    for (const authorization of [undefined, 'Bearer', `Bearer ${TOKEN}x`, `Basic ${TOKEN}`, TOKEN]) {
      const headers = authorization === undefined ? {} : { authorization };
      expect(await ask('POST', at, { observations: [observation()] }, headers)).toMatchObject({
        status: 401,
        body: { type: 'unauthorized' },
      });
    }
    const older = { authorization: 'Bearer an-older-token-of-these' };
    expect(await ask('GET', `${migration}/routing`, undefined, older)).toMatchObject({
      status: 200,
      body: { epoch: 1 },
    });
    expect(await ask('GET', 'nobody/routing')).toMatchObject({ status: 404, body: { type: 'unknown-migration' } });
    expect(await ask('GET', `${migration}/elsewhere`)).toMatchObject({ status: 404, body: { type: 'not-found' } });
    expect(await ask('GET', at)).toMatchObject({ status: 405 });
    expect(
      await ask('POST', at, 'a=1', { authorization: `Bearer ${TOKEN}`, 'content-type': 'text/plain' }),
    ).toMatchObject({ status: 415 });
    expect(await ask('POST', at, `{"observations":["${'x'.repeat(6_000_000)}"]}`)).toMatchObject({
      status: 413,
      body: { type: 'too-large' },
    });
    for (const body of [
      '',
      '{',
      '[1,]',
      '{"card":"4111-1111" "',
      '{"card":4111111111111111111 "',
      '['.repeat(200_000),
    ]) {
      expect(await ask('POST', at, body)).toMatchObject({ status: 400, body: { type: 'invalid-request' } });
    }
    const tooMany = Array.from({ length: 1_001 }, () => observation());
    expect((await ask('POST', at, { observations: tooMany })).problem.problems?.[0]?.at).toBe('/observations');

    const malformed = await ask('POST', at, {
      ignore: ['/fine', 'none'],
      observations: [
        observation({ kafka: -1, key: 'no base64!', error: { name: 'E', message: 'both' } }),
        observation({ side: 'shadow', kafka: 5, surprise: true }),
        { ...observation({ partition: '0' }), output: undefined },
        observation({ kafka: 9 }),
        observation({ kafka: 8 }),
      ],
    });
    expect(malformed).toMatchObject({ status: 400, body: { type: 'invalid-request', furtherProblems: 0 } });
    expect(malformed.problem.problems?.map((one) => one.at).sort()).toEqual([
      '/ignore/1',
      '/observations/0',
      '/observations/0/kafka',
      '/observations/0/key',
      '/observations/1',
      '/observations/2',
      '/observations/2/partition',
      '/observations/4/kafka',
    ]);
    const uncovered = await ask('POST', at, {
      observations: [observation({ group: 'strangers' }), observation({ topic: 'elsewhere' })],
    });
    expect(uncovered).toMatchObject({ status: 409, body: { type: 'not-covered' } });
    expect(uncovered.problem.problems?.map((one) => one.at)).toEqual([
      '/observations/0/group',
      '/observations/1/topic',
    ]);
    expect((await ask('POST', at, { observations: [observation({ partition: 2 })] })).problem).toMatchObject({
      type: 'not-covered',
      problems: [{ problem: `${topic} has 2 partitions in Kafka, numbered from 0` }],
    });
    expect(await ask('POST', at, { observations: [observation({ epoch: 99 })] })).toMatchObject({
      status: 409,
      body: { type: 'unknown-epoch' },
    });
    const wrong = { group: 'strangers', watermarks: { live: { 'elsewhere/0': 1 } }, positions: { [`${topic}/7`]: 1 } };
    const reported = await ask('PUT', `${migration}/members/a`, report(wrong));
    expect(reported.problem.problems?.map((one) => one.at)).toEqual(['/group', '/watermarks/live/elsewhere~10']);
    const partition = await ask('PUT', `${migration}/members/a`, report({ ...wrong, group, watermarks: {} }));
    expect(partition).toMatchObject({ status: 409, body: { problems: [{ at: `/positions/${topic}~17` }] } });
    const contradictions = [
      { only: 'live', shadow: true, at: '/shadow' },
      { only: 'shadow', shadow: true, at: '/only' },
      { only: 'shadow', state: 'idle', positions: { [`${topic}/0`]: 1 }, at: '/only' },
    ];
    for (const { at: place, ...change } of contradictions) {
      expect(await ask('PUT', `${migration}/members/a`, report(change))).toMatchObject({
        status: 400,
        body: { problems: [{ at: place }] },
      });
    }
    expect(await ask('PUT', `${migration}/members/a`, ' '.repeat(600_000))).toMatchObject({
      status: 413,
      body: { detail: expect.stringContaining('524288 bytes') as unknown },
    });
    expect(await ask('GET', '%zz/routing')).toMatchObject({ status: 400, body: { type: 'invalid-request' } });
    expect(await ask('PUT', `${migration}/members/a b`, report())).toMatchObject({ status: 400 });
    expect(await ask('DELETE', `${migration}/members/nobody`)).toMatchObject({ status: 404 });
    expect(await bench.reports()).toEqual([]);
  });

  it('counts a report from when it was sent, and takes none that is older than another or than its lease', async () => {
    const at = `${bench.migration}/members/late`;
    const now = (): number => performance.timeOrigin + performance.now();
    const put = async (asOf: number, agoMs: number, change: Record<string, unknown> = {}) =>
      await ask('PUT', at, report({ known: { asOf, agoMs }, ...change }));
    const stale = (detail: string) => ({
      status: 409,
      body: { type: 'stale-report', detail: expect.stringContaining(detail) as unknown },
    });
    // Sent a second ago, as far as anybody can know, so two of its lease are left.
    const begun = now();
    expect(await put(begun - 1_500, 500)).toMatchObject({ status: 200, body: { epoch: bench.state?.epoch } });
    const [late] = await bench.reports();
    expect(late).toMatchObject({ instance: 'late@http', group: bench.group, state: 'live-kafka' });
    expect(late?.leaseMs).toBeGreaterThan(0);
    expect(late?.leaseMs).toBeLessThanOrEqual(LEASE_MS - 1_000);
    // Before that one.
    expect(await put(begun - 1_100, 0)).toMatchObject(stale('A later report of late@http has come already'));
    // By an answer that was longer ago than the lease, and by one that has not been given yet.
    expect(await put(now() - LEASE_MS - 100, LEASE_MS)).toMatchObject(stale('longer than the lease'));
    expect(await put(now() + 60_000, 0)).toMatchObject(stale('ahead of the clock'));
    // A clock that is ahead promises nothing.
    const ahead = { watermarks: { live: { [`${bench.topic}/0`]: Date.now() + 3_600_000 } } };
    expect(await put(now(), 0, ahead)).toMatchObject({ status: 200 });
    expect((await bench.reports())[0]?.watermarks.live[`${bench.topic}/0`]).toBeLessThanOrEqual(Date.now());
    expect((await bench.reports())[0]?.leaseMs).toBeGreaterThan(late?.leaseMs ?? LEASE_MS);
    const before = now();
    expect(await ask('DELETE', at)).toMatchObject({ status: 204 });
    expect(await bench.reports()).toEqual([]);
    expect(await put(before, 0)).toMatchObject(stale('A later report'));
  });

  it('answers a long poll with the next epoch', async () => {
    const epoch = bench.state?.epoch ?? 0;
    const asked = ask('GET', `${bench.migration}/routing?after=${epoch}&wait=30`);
    await bench.route({});
    expect(await asked).toMatchObject({ status: 200, body: { epoch: epoch + 1, shadow: 'off', leaseMs: LEASE_MS } });
    const begun = performance.now();
    expect(await ask('GET', `${bench.migration}/routing?after=${epoch + 1}&wait=0.3`)).toMatchObject({
      body: { epoch: epoch + 1 },
    });
    expect(performance.now() - begun).toBeGreaterThanOrEqual(300);
  });

  it('lets a group of two clients on HTTP alone take part: exact counts, the planted difference, no life after death', async () => {
    const process = ({ key, value, leg }: SimpleMessage): string => {
      const amount = Number(value?.toString());
      // Properties in another order, numbers spelt otherwise; one wrong on the shadow; one too large for a double.
      const total = leg === 'owlmq' && amount === 77 ? '78' : leg === 'owlmq' ? `${amount}.0` : String(amount);
      const serial = `1000000000000000000${amount % 10}`;
      const order = JSON.stringify(key?.toString() ?? '');
      const at = performance.now();
      return leg === 'kafka'
        ? `{"order":${order},"total":${total},"serial":${serial},"at":${at}}`
        : `{"at":${at},"serial":${serial},"total":${total},"order":${order}}`;
    };
    const live = await client('live', process);
    await expect(consumersWithShadows()).rejects.toThrow(`a shadow of group ${bench.group}: none reports`);
    const shadow = await client('shadow', process);
    await bench.publish([{ key: 'k0', value: '1' }]);
    await startComparing(bench.group, 2);
    expect(await consumersWithShadows()).toMatchObject({ groups: { [bench.group]: { members: 2 } }, silent: [] });
    const messages = Array.from({ length: 400 }, (_, index) => ({ key: `k${index % 40}`, value: String(index) }));
    await bench.publish(messages);
    const compare = comparison([bench.group]);
    const done = ({ counts, unmatched }: GroupComparison): boolean =>
      counts.ignored + counts.different >= 400 && unmatched === 0;
    const found = await untilCompared(compare, bench.group, done);
    expect(found.counts).toMatchObject({ ignored: 399, different: 1, missing: 0, unexpected: 0, duplicates: 0 });
    expect(found.samples).toMatchObject([{ verdict: 'different', fields: ['/total'] }]);
    await until(() => (live.observed === 400 && shadow.observed === 400 ? true : undefined));
    const idleFrom = Date.now();
    const idle = await untilCompared(compare, bench.group, ({ comparedUpTo }) => (comparedUpTo ?? 0) > idleFrom);
    expect(idle.stalled).toEqual([]);

    // So that it is soon known to be dead.
    const { epoch } = await bench.route({ leaseMs: 1_000 });
    await until(async () => ((await bench.reports()).every((one) => one.epoch === epoch) ? true : undefined));
    await shadow.kill();
    const dead = await untilCompared(compare, bench.group, ({ stalled }) => stalled.length > 0);
    expect(dead.stalled.join()).toContain('no living member reports how far its shadow side is');
    await live.leave();
    expect((await bench.reports()).map(({ only }) => only)).toEqual(['shadow']);
  });

  it('compares what the library does live with a shadow on HTTP, digest for digest', async () => {
    const group = `${bench.group}-library`;
    await bench.route({ shadow: 'off', leaseMs: LEASE_MS }, ['shadowFrom']);
    const text = (value: Buffer | null): string => {
      if (value?.toString() === '7') throw new RangeError('no seven');
      return `${value?.toString() ?? ''} é "\u2028" \\`;
    };
    const library = new DualConsumer({
      ...{ ...bench.options(), groupId: group, digestKey: DIGEST_KEY, ignore: ['/at'] },
      process: ({ key, value }) => ({
        ...{ at: 1, key: key?.toString() ?? null, text: text(value), big: 10n ** 20n + 1n },
        ...{ list: [1.5, -0, 1e21, { deep: [] }], none: undefined },
      }),
      apply: () => undefined,
      retry: { attempts: 1 },
      onFailure: () => 'skip',
      onError: (error) => {
        if (error.name !== 'HandlerFailedError') throw error;
      },
    });
    clients.push({ kill: () => library.stop() });
    await library.start();
    const http = await client(
      'shadow',
      ({ key, value }) =>
        `{"text":${JSON.stringify(text(value)).replace('é', '\\u00e9')},"list":[15e-1,0,1000000000000000000000,{"deep":[ ]}],` +
        `"big":100000000000000000001,"key":${JSON.stringify(key?.toString() ?? null)},"at":2}`,
      group,
    );
    await startComparing(group, 2);
    // Two shadows, two partitions: each has one.
    await until(async () => {
      const shadows = (await bench.reports()).filter((one) => one.group === group && one.shadow);
      return shadows.length === 2 ? true : undefined;
    });
    await bench.publish(Array.from({ length: 200 }, (_, index) => ({ key: `k${index % 20}`, value: String(index) })));
    const { counts } = await untilCompared(
      comparison([group]),
      group,
      (one) => one.counts.ignored + one.counts.matched + one.counts.different >= 200 && one.unmatched === 0,
    );
    expect(http.observed).toBeGreaterThanOrEqual(100);
    expect(counts).toMatchObject({ different: 0, missing: 0, unexpected: 0, failedShadow: 0 });
    // Of its own shadow both clocks say 1, of the one on HTTP they differ.
    expect(counts.ignored).toBeGreaterThanOrEqual(100);
    expect(counts.matched + counts.ignored).toBe(200);
  });

  it('stores nothing that the comparison cannot read, whatever is sent, and takes what is sent twice', async () => {
    const seed = randomInt(2 ** 31);
    process.stderr.write(`seed ${seed}\n`);
    const from = await bench.reader.ends(OBSERVATIONS_TOPIC);
    const odd = fc.oneof(
      fc.json(),
      fc.constantFrom(
        '-1',
        '1.5',
        '1e400',
        '-0',
        '12345678901234567890',
        '0.10000000000000000001',
        'null',
        '"\\ud800"',
      ),
      fc.constantFrom(
        '{"__proto__":{"a":1}}',
        '{"toJSON":1}',
        '{"constructor":{"prototype":1}}',
        '[[[[]]]]',
        '"$date"',
      ),
    );
    const fields = Object.keys(observation({ owlmq: 3, error: {}, handlerVersion: '', ignore: [], capture: true }));
    const change = fc.dictionary(
      fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...fields) }, { weight: 1, arbitrary: fc.string() }),
      odd,
      { maxKeys: 2, noNullPrototype: true },
    );
    const item = fc.tuple(fc.boolean(), change).map(([sound, changes]) => {
      const base = Object.entries(observation()).map(([name, value]): [string, string] => [
        name,
        JSON.stringify(value),
      ]);
      const all = new Map([...base, ...(sound ? [] : Object.entries(changes))]);
      return `{${[...all].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`;
    });
    const output = odd.map((value) => {
      const base = JSON.stringify(observation());
      return `${base.slice(0, base.indexOf('"output"'))}"output":${value}}`;
    });
    const body = fc.oneof(
      fc.array(fc.oneof(item, output), { maxLength: 4 }).map((items) => `{"observations":[${items.join(',')}]}`),
      odd.map((value) => `{"observations":${value}}`),
      fc.string(),
    );
    const statuses = new Map<number, number>();
    let stored = 0;
    await fc.assert(
      fc.asyncProperty(body, async (text) => {
        const answer = await ask('POST', `${bench.migration}/observations`, text);
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        if (answer.status === 200) stored += (answer.body as { stored: number }).stored;
        expect(answer.status === 503 || answer.status < 500).toBe(true);
      }),
      { seed, numRuns: 100 },
    );
    expect(statuses.get(200)).toBeGreaterThan(5);
    expect(statuses.get(400)).toBeGreaterThan(5);

    const fromNumbers = await bench.reader.ends(OBSERVATIONS_TOPIC);
    const numbers = [
      '12345678901234567890',
      '12345678901234567891',
      '0.1',
      '0.10000000000000000555',
      '0.1000000000000000001',
    ];
    const sent = numbers.map((n) => JSON.stringify(observation()).replace('{"total":1}', `{"n":${n}}`)).join(',');
    const twice = `{"observations":[${sent}]}`;
    for (let time = 0; time < 2; time += 1) {
      expect(await ask('POST', `${bench.migration}/observations`, twice)).toMatchObject({
        status: 200,
        body: { stored: 5, uncomparable: [{ at: '/observations/4/output' }] },
      });
    }
    const captured = [observation({ output: 'in clear' }), observation({ output: 'hidden', capture: false })];
    expect(
      await ask('POST', `${bench.migration}/observations`, { capture: true, observations: captured }),
    ).toMatchObject({ status: 200, body: { stored: 2, epoch: bench.state?.epoch, uncomparable: [] } });
    const all = await storedSince(from);
    for (const { text } of all) {
      expect(text).not.toContain('1234567890');
      expect(text).not.toContain('hidden');
    }
    const inClear = all.filter(({ read }) => read.output?.captured?.text.includes('in clear'));
    expect([all.length, inClear.length]).toEqual([stored + 12, 1]);
    const digests = (await storedSince(fromNumbers)).map(({ read }) => read.output?.digest);
    const [first, second, third, fourth, fifth] = digests.slice(-7);
    expect(new Set([first, second, third, undefined]).size).toBe(4);
    expect([fourth, fifth]).toEqual([third, undefined]);
    expect(log.join('')).not.toContain(TOKEN);
    expect(log.join('')).not.toContain('1234567890');
    // Long ones: times and process ids of the log hold any four digits.
    expect(log.join('')).not.toContain('4111-1111');
    expect(log.join('')).not.toContain('41111111');
  });

  it('stores the batches of a migration in the order in which they came in', async () => {
    const from = await bench.reader.ends(OBSERVATIONS_TOPIC);
    // The first takes longest to digest; all are sent at once, over one connection.
    const requests = Array.from({ length: 12 }, (_, batch) => {
      const output = Array.from({ length: batch === 0 ? 3_000 : 1 }, (_, at) => ({ at }));
      const observations = Array.from({ length: batch === 0 ? 40 : 5 }, (_, index) =>
        observation({ kafka: batch * 100 + index, output }),
      );
      const body = Buffer.from(JSON.stringify({ observations }));
      const last = batch === 11 ? 'Connection: close\r\n' : '';
      const head = `POST /v1/migrations/${bench.migration}/observations HTTP/1.1\r\nHost: test\r\n${last}Authorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
      return Buffer.concat([Buffer.from(head), body]);
    });
    const { hostname, port } = new URL(opened.endpoint.url);
    const socket = connect(Number(port), hostname);
    socket.write(Buffer.concat(requests));
    const answers = Buffer.concat((await socket.toArray()) as Buffer[]).toString();
    expect(answers.match(/HTTP\/1\.1 200 /g)).toHaveLength(12);
    const offsets = (await storedSince(from)).map(({ read }) => read.kafka);
    expect(offsets).toHaveLength(95);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
  });

  const python = spawnSync('python3', ['--version']).status === 0;

  it.skipIf(!python)('is spoken to by the Python of the docs, whose digests are those of the library', async () => {
    const page = await readFile(join(import.meta.dirname, '..', '..', 'docs', 'observation-endpoint.md'), 'utf8');
    const [http = '', consumer = ''] = [...page.matchAll(/^```python\n(.*?)^```$/gms)].map(([, code]) => code ?? '');
    const folder = await mkdtemp(join(tmpdir(), 'observation-endpoint-test-'));
    await writeFile(join(folder, 'endpoint.py'), http);
    await writeFile(join(folder, 'consumer.py'), consumer);
    await writeFile(join(folder, 'trial.py'), trialInPython);
    const run = async (...args: string[]) => (await promisify(execFile)('python3', args, { cwd: folder })).stdout;
    await run('-c', 'import ast; ast.parse(open("consumer.py").read())');
    const { migration, group, topic, state } = bench;
    const from = await bench.reader.ends(OBSERVATIONS_TOPIC);
    const printed = await run('trial.py', JSON.stringify([opened.endpoint.url, TOKEN, migration, group, topic]));
    expect(JSON.parse(printed)).toEqual({
      epoch: state?.epoch,
      leased: true,
      refused: ['invalid-request', 'not-covered'],
    });
    expect((await bench.reports()).filter(({ instance }) => instance === 'python@http')).toEqual([]);
    const outputs = [
      {
        text: 'é\u2028',
        float: 1e22,
        big: 2n ** 70n + 1n,
        many: 2 ** 53,
        list: [0.1, null, true],
        nested: { b: 1, a: {} },
      },
      'second',
    ];
    const digester = new OutputDigester({ migration, digestKey: DIGEST_KEY, ignore: ['/at'] });
    const digests = (await storedSince(from)).map(({ read }) => [read.key, read.output?.digest]);
    expect(digests).toEqual(outputs.map((output) => [digester.short('key'), digester.digest(output).digest]));
    await rm(folder, { recursive: true });
  });

  it('says 503 while Kafka is away, and goes on when it is back', async () => {
    const link = await TcpProxy.to(bench.connection.brokers[0] ?? '');
    const other = await openEndpoint({ ...bench.connection, brokers: [link.address] });
    const observe = async () =>
      await ask(
        'POST',
        `${bench.migration}/observations`,
        { observations: [observation()] },
        undefined,
        other.endpoint.url,
      );
    const put = async () =>
      await ask('PUT', `${bench.migration}/members/away`, report(), undefined, other.endpoint.url);
    try {
      expect(await observe()).toMatchObject({ status: 200 });
      link.cut();
      const [observed, reported] = await Promise.all([observe(), put()]);
      expect(observed).toMatchObject({ status: 503, body: { type: 'unavailable' } });
      expect(reported).toMatchObject({ status: 503, body: { type: 'unavailable' } });
      link.restore();
      expect(await until(async () => ((await observe()).status === 200 ? true : undefined))).toBe(true);
      expect(await until(async () => ((await put()).status === 200 ? true : undefined))).toBe(true);
    } finally {
      link.restore();
      await other.close();
      await link.close();
    }
  });
});
