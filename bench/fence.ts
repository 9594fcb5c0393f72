import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';
import { OwlmqClient } from '@owlmq/kafka-bridge';
import { MemberRoster, RoutingWriter } from '@owlmq/kafka-bridge/operations';
import { startEngines } from '../engines/start-engines.js';
import type { MemberRequest, MemberTold } from './fence-member.js';
import { MemberProcesses } from './member-processes.js';

/**
 * How long a fence takes: from the start of its write until a roster has read the acknowledgement of the last member,
 * which is what the workflow waits for, and how long `publish()` calls are held by it.
 *
 * `npm run bench:fence`
 */
const { values: args } = parseArgs({
  options: {
    publishers: { type: 'string', default: '50' },
    simulated: { type: 'string', default: '300' },
    rounds: { type: 'string', default: '10' },
    every: { type: 'string', default: '100' },
  },
});
const ROUNDS = Number(args.rounds);
const EVERY_MS = Number(args.every);
const WARM_UP = 2;
/** As the workflow looks. */
const POLL_MS = 20;
/** Simulated members share processes, so that one event loop does not have to answer for all. */
const MEMBERS_A_PROCESS = 75;
const PARTITIONS = 6;
const ROUND_TIMEOUT_MS = 30_000;

interface Round {
  /** Until the fence was written and read back. */
  writtenMs: number;
  /** Until all had acknowledged it. */
  fencedMs: number;
}

/** What members have told. */
interface Told {
  held: number[];
  failures: string[];
}

async function measure(name: string, count: number, requests: Omit<MemberRequest, 'brokers'>[]): Promise<void> {
  const engines = await startEngines({ want: ['kafka', 'owlmq'] });
  const brokers = [...engines.kafka.brokers];
  const connection = { brokers };
  const writer = new RoutingWriter({ connection, clientId: 'bench-fence' });
  const roster = new MemberRoster({ connection, clientId: 'bench-fence' });
  const told: Told = { held: [], failures: [] };
  const members = new MemberProcesses<MemberTold>('fence-member.js', (news) => {
    if (news.type === 'released') told.held.push(news.heldMs);
    else if (news.type === 'failed') told.failures.push(news.error);
  });
  const [{ migration, topic } = { migration: '', topic: '' }] = requests;
  let epoch = 0;
  const route = async (fence: boolean): Promise<void> => {
    await writer.write({
      ...{ version: 1, migration, epoch: ++epoch, topics: [topic], groups: [], ratio: 1, primary: 'kafka' },
      ...{ mirror: true, live: 'kafka', shadow: 'off', leaseMs: 10_000 },
      ...{ writtenAt: new Date().toISOString(), reason: 'bench' },
      ...(fence ? { fence: { reason: 'bench' } } : {}),
    });
  };
  const reads: number[] = [];
  /** Waits as the workflow does. */
  const untilAll = async (state: 'fenced' | 'publishing'): Promise<void> => {
    const deadline = performance.now() + ROUND_TIMEOUT_MS;
    for (;;) {
      const asked = performance.now();
      await roster.readToEnd();
      reads.push(performance.now() - asked);
      const follow = roster.members(migration).filter(({ report }) => report.epoch >= epoch && report.state === state);
      if (follow.length === count) return;
      if (performance.now() > deadline) throw new Error(`Only ${follow.length} of ${count} members are ${state}.`);
      await sleep(POLL_MS);
    }
  };
  const round = async (): Promise<Round> => {
    const started = performance.now();
    await route(true);
    const writtenMs = performance.now() - started;
    await untilAll('fenced');
    const fencedMs = performance.now() - started;
    await route(false);
    await untilAll('publishing');
    return { writtenMs, fencedMs };
  };
  try {
    await writer.ensureTopics();
    await createTopic(brokers, engines.owlmq, topic);
    await route(false);
    await roster.start();
    for (const request of requests) await members.start({ ...request, brokers }, { ...engines.env });
    await untilAll('publishing');
    for (let n = 0; n < WARM_UP; n++) {
      await round();
      await sleep(500);
    }
    told.held.length = 0;
    reads.length = 0;
    const rounds: Round[] = [];
    for (let n = 0; n < ROUNDS; n++) {
      rounds.push(await round());
      // Reports of what was released come back, and all is at rest again.
      await sleep(1_000);
    }
    report(name, count, rounds, told, reads);
  } finally {
    await members.stop();
    await Promise.all([writer.close(), roster.stop()]);
    await engines.stop();
  }
}

async function createTopic(brokers: string[], owlmq: { url: string; apiKey: string }, topic: string): Promise<void> {
  const admin = new Kafka({ brokers, logLevel: logLevel.ERROR }).admin();
  const client = new OwlmqClient(owlmq);
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }], waitForLeaders: true });
  await client.createTopic(topic, PARTITIONS);
  await Promise.all([admin.disconnect(), client.close()]);
}

function report(name: string, count: number, rounds: Round[], { held, failures }: Told, reads: number[]): void {
  const row = (what: string, samples: readonly number[]): void => {
    const sorted = samples.toSorted((a, b) => a - b);
    const at = (share: number): string => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(0);
    console.log(`| ${name} | ${what} | ${sorted.length} | ${at(0.5)} | ${at(0.99)} | ${at(1)} |`);
  };
  row(
    'fence written and read back',
    rounds.map(({ writtenMs }) => writtenMs),
  );
  row(
    'last of all has acknowledged',
    rounds.map(({ fencedMs }) => fencedMs),
  );
  if (held.length > 0) row('longest hold of a publisher', held);
  row('roster read to its end', reads);
  console.error(`${name}: ${count} members, ${failures.length} failed calls`);
  for (const failure of failures.slice(0, 3)) console.error(failure);
}

console.log('| members | milliseconds until | samples | p50 | p99 | max |');
console.log('| --- | --- | --- | --- | --- | --- |');
const publishers = Number(args.publishers);
const simulated = Number(args.simulated);
const request = { migration: 'bench-fence', topic: 'bench.fence', everyMs: EVERY_MS };
if (publishers > 0) {
  const each = Array.from({ length: publishers }, () => ({ ...request, kind: 'publisher' as const, count: 1 }));
  await measure(`${publishers} publishers`, publishers, each);
}
if (simulated > 0) {
  const each: Omit<MemberRequest, 'brokers'>[] = [];
  for (let left = simulated; left > 0; left -= MEMBERS_A_PROCESS) {
    each.push({ ...request, kind: 'members', count: Math.min(left, MEMBERS_A_PROCESS) });
  }
  await measure(`${simulated} simulated`, simulated, each);
}
