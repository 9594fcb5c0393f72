import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ClusterAdmin } from '@owlmq/kafka-bridge/operations';
import { Client, Connection } from '@temporalio/client';
import proto from '@temporalio/proto';
import { Fleet } from '../demo/fleet.js';
import { TemporalTrial } from '../demo/temporal.js';
import { Progress } from '../engines/fetch/progress.js';
import { findTemporalCli } from '../engines/find/temporal-cli.js';
import { startEngines } from '../engines/start-engines.js';
import type { MigrationStatus } from '../src/workflows/status.js';
import type { HoldMemberRequest, HoldMemberTold } from './hold-member.js';
import { windowSteps, type StepTime } from './hold-steps.js';
import { MemberProcesses } from './member-processes.js';

/**
 * How long publishers are held by a cutover and by a rollback: whole migrations one after the other on the same topics,
 * members and workflow id, through the real workflow and worker, on engines of its own.
 *
 * `npm run bench:hold`
 */
const { values: args } = parseArgs({
  options: {
    /**
     * `demo`: 3 publishers, 2 groups of 2, 2 topics of 6 partitions; `large`: 100 groups, 10 topics of 12 partitions;
     * `wide`: 2 groups, 100 topics of 12 partitions.
     */
    size: { type: 'string', default: 'demo' },
    cutovers: { type: 'string' },
    /** Messages a second, of all publishers together. */
    rate: { type: 'string' },
    json: { type: 'string' },
  },
});
const wide = args.size === 'wide';
/** Too much of something for the demo's times. */
const large = args.size === 'large' || wide;
const CUTOVERS = Number(args.cutovers ?? (wide ? 3 : large ? 10 : 100));
const RATE = Number(args.rate ?? (large ? 10 : 400));
const PUBLISHERS = 3;
const POLL_MS = 250;
const LIMIT_MS = large ? 300_000 : 120_000;
const RETENTION_MS = 30 * 24 * 3_600_000;
const HISTORY_BYTES = 64 * 1_024 * 1_024;

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`);
const migration = 'bench-hold';
const topics = large ? names('topic', wide ? 100 : 10) : ['orders', 'payments'];
const partitions = large ? 12 : 6;
const partitionsAtOnce = large ? 16 : 1;
const groups = large && !wide ? names('group', 100) : ['payment-service', 'notification-service'];
/** By process: the demo's size has one member a process, the large fleet shares some. */
const hosts: Pick<HoldMemberRequest, 'groups' | 'publishers'>[] =
  large && !wide
    ? [
        ...Array.from({ length: 4 }, (_, host) => ({
          groups: groups.filter((_group, index) => index % 4 === host),
          publishers: 0,
        })),
        { groups: [], publishers: PUBLISHERS },
      ]
    : [
        ...groups.flatMap((group) => [1, 2].map(() => ({ groups: [group], publishers: 0 }))),
        ...Array.from({ length: PUBLISHERS }, () => ({ groups: [], publishers: 1 })),
      ];

interface Round {
  cutoverHoldMs: number;
  windowMs: number;
  attempts: number;
  cancelled: string[];
  rollbackHoldMs: number;
  /** Of the history; where the run continued as new, of the last one. */
  historyEvents: number;
  historyKb: number;
  /** The largest event, of which a payload is most. */
  largestEventKb: number;
  load: number;
  cutoverSteps: StepTime[];
  rollbackSteps: StepTime[];
}

const failures: string[] = [];
const rounds: Round[] = [];
const folder = await mkdtemp(join(tmpdir(), 'bench-hold-'));
const signal = new AbortController().signal;
const log = (line: string): void => {
  console.error(line);
};
const engines = await startEngines({ want: ['temporal', 'kafka', 'owlmq'], log });
const fleet = new Fleet({
  ...{ migration, taskQueue: migration, topics: { orders: '', payments: '' }, groups: [], membersPerGroup: 0 },
  ...{ producers: 0, rate: 0, keys: 0, seed: 0, env: engines.env, folder, log, signal },
});
const members = new MemberProcesses<HoldMemberTold>('hold-member.js', (told) => {
  if (told.type === 'failed') failures.push(told.error);
});
const { address } = engines.temporal;
const trial = await TemporalTrial.connect({
  ...{ cli: await findTemporalCli(new Progress(log)), address, taskQueue: migration, migration },
});
// A page of the large size's history is more than the client takes by default.
const connection = await Connection.connect({
  address,
  channelArgs: { 'grpc.max_receive_message_length': HISTORY_BYTES },
});
const { workflow } = new Client({ connection });
try {
  await createTopics();
  await fleet.startWorker();
  const env = { ...engines.env };
  const brokers = [...engines.kafka.brokers];
  await Promise.all(
    hosts.map((host) =>
      members.start({ migration, brokers, topics, rate: RATE / PUBLISHERS, partitionsAtOnce, ...host }, env),
    ),
  );
  for (let n = 1; n <= CUTOVERS; n++) {
    const round = await once();
    rounds.push(round);
    const { cutoverHoldMs, windowMs, rollbackHoldMs, attempts, load } = round;
    log(
      `${n}: held ${cutoverHoldMs.toFixed(0)} ms (window ${windowMs} ms, ${attempts} attempts), ` +
        `rollback ${rollbackHoldMs.toFixed(0)} ms, load ${load.toFixed(1)}`,
    );
    if (args.json !== undefined) await writeFile(args.json, JSON.stringify({ args, rounds, failures }, null, 2));
  }
} finally {
  report();
  await members.stop();
  await fleet.stop();
  await Promise.all([trial.close(), connection.close()]);
  await engines.stop();
  await rm(folder, { recursive: true, force: true });
}

async function createTopics(): Promise<void> {
  const admin = new ClusterAdmin({ brokers: [...engines.kafka.brokers] }, { clientId: migration });
  const configs = { 'retention.ms': String(RETENTION_MS) };
  for (const topic of topics) await admin.createTopic(topic, { partitions, configs });
  await admin.close();
}

/** A migration to the warm phase, and back. */
async function once(): Promise<Round> {
  await trial.run(
    trial.startCommand({
      ...{ topics, groups },
      ramp: { step: 1, interval: 200, gates: { sustained: 0 } },
      // Each slice of it hands on where every partition of every group is.
      soak: { duration: large ? 20_000 : 1_000, minComparisons: 10, lateness: 1_000 },
      cutover: { backOff: 500, maxAttempts: 20 },
      audit: { grace: 2_000 },
    }),
  );
  const cancelled = new Set<string>();
  const warm = await until((status) => {
    if (status.cutover.lastCancel !== undefined) cancelled.add(status.cutover.lastCancel.reason);
    return status.phase === 'warm';
  });
  const load = loadavg()[0] ?? 0;
  await trial.run(trial.rollbackCommand('the next round'));
  const back = await until(({ phase }) => phase === 'rolled-back');
  await trial.result();
  const history = await workflow.getHandle(migration).fetchHistory();
  const eventKb = (history.events ?? []).map(
    (event) => proto.temporal.api.history.v1.HistoryEvent.encode(event).finish().length / 1_024,
  );
  return {
    historyEvents: eventKb.length,
    historyKb: eventKb.reduce((sum, kb) => sum + kb, 0),
    largestEventKb: Math.max(...eventKb),
    cutoverHoldMs: warm.cutover.publisherHoldMs ?? 0,
    windowMs: warm.cutover.windowMs ?? 0,
    attempts: warm.cutover.attempts,
    cancelled: [...cancelled],
    rollbackHoldMs: back.rollback?.publisherHoldMs ?? 0,
    load,
    cutoverSteps: windowSteps(history, 'cutover: publishers hold', 'cutover: OwlMQ is primary, its consumers are live'),
    rollbackSteps: windowSteps(history, 'rollback: publishers hold', 'rollback: everything on Kafka, nothing copied'),
  };
}

async function until(holds: (status: MigrationStatus) => boolean): Promise<MigrationStatus> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    const status = await trial.status();
    if (holds(status)) return status;
    if (performance.now() > deadline || status.phase === 'failed') {
      const { phase, blocked, waiting, log: lines } = status;
      throw new Error(`Not there in time: ${JSON.stringify({ phase, blocked, waiting, log: lines.slice(-5) })}`);
    }
    await sleep(POLL_MS);
  }
}

function report(): void {
  console.log('| milliseconds, or as said | samples | p50 | p90 | p99 | max |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  row('longest hold of a publisher at the cutover', (round) => [round.cutoverHoldMs]);
  row('from the fence to verified on OwlMQ', (round) => [round.windowMs]);
  row('longest hold of a publisher at the rollback', (round) => [round.rollbackHoldMs]);
  row('events of the history', (round) => [round.historyEvents]);
  row('KB of the history', (round) => [round.historyKb]);
  row('KB of its largest event', (round) => [round.largestEventKb]);
  stepRows('cutover', ({ cutoverSteps }) => cutoverSteps);
  stepRows('rollback', ({ rollbackSteps }) => rollbackSteps);
  const attempts = rounds.reduce((sum, round) => sum + round.attempts - 1, 0);
  const reasons = [...new Set(rounds.flatMap(({ cancelled }) => cancelled))];
  console.log(`\n${attempts} attempts were cancelled${reasons.length === 0 ? '' : `: ${reasons.join('; ')}`}.`);
  console.log(`${failures.length} calls and members failed.`);
  for (const failure of new Set(failures)) console.error(failure);
}

function stepRows(what: string, stepsOf: (round: Round) => StepTime[]): void {
  for (const name of new Set(rounds.flatMap((round) => stepsOf(round).map((step) => step.name)))) {
    const times = (round: Round) => stepsOf(round).filter((step) => step.name === name);
    row(`${what}: ${name}`, (round) => times(round).map(({ queuedMs, ranMs }) => queuedMs + ranMs));
    row('- of it before a worker took it', (round) => times(round).map(({ queuedMs }) => queuedMs));
    row('- since the step before it', (round) => times(round).map(({ sinceMs }) => sinceMs));
  }
}

function row(what: string, samplesOf: (round: Round) => number[]): void {
  const sorted = rounds.flatMap(samplesOf).sort((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(0);
  console.log(`| ${what} | ${sorted.length} | ${at(0.5)} | ${at(0.9)} | ${at(0.99)} | ${at(1)} |`);
}
