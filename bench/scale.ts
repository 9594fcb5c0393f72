import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ClusterAdmin, eachLimited, observationEnds, OwlmqClient, throwAll } from '@owlmq/kafka-bridge/operations';
import { parseMigrationInput, type MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import getPort from 'get-port';
import { Kafka, logLevel } from 'kafkajs';
import { checkoutRoot } from '../engines/checkout.js';
import { launch } from '../engines/run/launch.js';
import { programPlan } from '../engines/run/program.js';
import { startEngines } from '../engines/start-engines.js';
import { newMigrationState, type CarriedOver } from '../src/workflows/migration-state.js';
import type { MigrationStatus } from '../src/workflows/status.js';

/**
 * What many migrations at rest cost one worker: each on a topic of its own, at its soak, with its audit and its
 * comparison on real engines, and nobody who publishes. Measures memory, what goes to Temporal and Kafka, and how fast
 * a pause takes hold of one of them.
 *
 * `npm run bench:scale`
 */
const { values: args } = parseArgs({
  options: {
    migrations: { type: 'string', default: '1000' },
    /** Seconds over which rates are taken, once all are at rest. */
    seconds: { type: 'string', default: '30' },
    /** Migrations that are paused and resumed, one after the other. */
    signals: { type: 'string', default: '50' },
  },
});
const MIGRATIONS = Number(args.migrations);
const SECONDS = Number(args.seconds);
const SIGNALS = Math.min(Number(args.signals), MIGRATIONS);
const TASK_QUEUE = 'bench-scale';
const AT_A_TIME = 20;
const REST_WITHIN_MS = 1_500_000;
const PAUSE_WITHIN_MS = 60_000;
/** What is measured is how long an answer takes, not whether it comes within the SDK's ten seconds. */
const ANSWER_WITHIN_MS = 120_000;
/** Of each migration: its audit and its comparison. */
const ACTIVITIES = 2;
/** Share of them that has to be under way: a slice may end meanwhile, and begin anew. */
const MOST = 0.99;

/** What the worker has counted since its start, or holds now. */
interface Counters {
  activities: number;
  cached: number;
  workflowTasks: number;
  heartbeats: number;
  cpuSeconds: number;
}

const signal = new AbortController().signal;
const log = (line: string): void => {
  console.error(line);
};
const folder = await mkdtemp(join(tmpdir(), 'bench-scale-'));
const engines = await startEngines({ want: ['temporal', 'kafka', 'owlmq'], log });
const metricsPort = await getPort({ host: '127.0.0.1' });
const env = { ...engines.env, TEMPORAL_TASK_QUEUE: TASK_QUEUE, METRICS_ADDRESS: `127.0.0.1:${metricsPort}` };
const { address } = engines.temporal;
const connection = await Connection.connect({ address });
const { workflow } = new Client({ connection });
const ids = Array.from({ length: MIGRATIONS }, (_, index) => `parked-${index + 1}`);
const topicOf = (id: string): string => `topic-of-${id}`;
const groupOf = (id: string): string => `group-of-${id}`;
try {
  await createTopics();
  const { process: worker } = await launch(
    programPlan(
      { id: 'worker', script: join(checkoutRoot, 'dist/src/worker.js'), readyLine: /worker is running/ },
      env,
      folder,
    ),
    { ports: 'free', log, signal, temporary: false },
  );
  try {
    const idle = await residentMb(worker.id.pid);
    const started = performance.now();
    await writeRouting();
    await park();
    const startedMs = performance.now() - started;
    const restMs = await untilAtRest(started);
    const before = await counters();
    await sleep(SECONDS * 1_000);
    const after = await counters();
    const rate = (name: keyof Counters) => ((after[name] - before[name]) / SECONDS).toFixed(1);
    const paused = await pauseSome();
    console.log(`| ${MIGRATIONS} migrations at their soak, one worker | |`);
    console.log('| --- | --- |');
    row('all started within', `${(startedMs / 1_000).toFixed(0)} s`);
    row(`activities under way, of ${MIGRATIONS * ACTIVITIES}`, String(after.activities));
    row('99% of them under way after', restMs === undefined ? 'never' : `${(restMs / 1_000).toFixed(0)} s`);
    row('worker RSS, before and with them', `${idle} MB, ${await residentMb(worker.id.pid)} MB`);
    row('Temporal dev server RSS', `${await residentMb(await pidOf(`--port ${address.split(':')[1] ?? ''}`))} MB`);
    row('workflows in the sticky cache', String(after.cached));
    row('workflow tasks a second', rate('workflowTasks'));
    row('heartbeats a second', rate('heartbeats'));
    row('CPU of the worker, cores', rate('cpuSeconds'));
    row('connections to Kafka', String(await connectionsTo(engines.kafka.brokers[0] ?? '')));
    row(`query of the status, p50 and p99 of ${SIGNALS}`, percentiles(paused.map(({ queryMs }) => queryMs)));
    row(`pause to the watches' end, p50 and p99 of ${SIGNALS}`, percentiles(paused.map(({ pauseMs }) => pauseMs)));
    row('load of the machine', (loadavg()[0] ?? 0).toFixed(1));
  } finally {
    await worker.stop();
  }

  async function counters(): Promise<Counters> {
    const text = await (await fetch(`http://${env.METRICS_ADDRESS}/metrics`)).text();
    const stat = (await readFile(`/proc/${worker.id.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
    const lines = text.split('\n').filter((line) => !line.startsWith('#'));
    const sum = (...words: string[]): number =>
      lines
        .filter((line) => words.every((word) => line.includes(word)))
        .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    return {
      activities: sum('temporal_worker_task_slots_used{', 'worker_type="ActivityWorker"'),
      cached: sum('temporal_sticky_cache_size{'),
      workflowTasks: sum('temporal_workflow_task_execution_latency_count{'),
      heartbeats: sum('temporal_request{', 'operation="RecordActivityTaskHeartbeat"'),
      // User and system time, in hundredths of a second.
      cpuSeconds: (Number(stat[11]) + Number(stat[12])) / 100,
    };
  }

  /** @returns how long it took; undefined when it did not come to that. */
  async function untilAtRest(since: number): Promise<number | undefined> {
    for (;;) {
      const now = (await counters()).activities;
      if (now >= MIGRATIONS * ACTIVITIES * MOST) return performance.now() - since;
      if (performance.now() - since > REST_WITHIN_MS) return undefined;
      log(`${now} of ${MIGRATIONS * ACTIVITIES} activities are under way`);
      await sleep(2_000);
    }
  }
} finally {
  await connection.close();
  await engines.stop();
  await rm(folder, { recursive: true, force: true });
}

async function createTopics(): Promise<void> {
  const admin = new ClusterAdmin({ brokers: [...engines.kafka.brokers] }, { clientId: TASK_QUEUE });
  const owlmq = new OwlmqClient(engines.owlmq);
  try {
    const errors = await eachLimited(ids, AT_A_TIME, async (id) => {
      await admin.createTopic(topicOf(id), { partitions: 1 });
      await owlmq.createTopic(topicOf(id), 1);
    });
    throwAll(errors, 'topics', 'topics');
  } finally {
    await Promise.all([admin.close(), owlmq.close()]);
  }
}

/** The states under which they are at their soak: every audit reads them all. */
async function writeRouting(): Promise<void> {
  const kafka = new Kafka({ brokers: [...engines.kafka.brokers], logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  const messages = ids.map((id) => {
    const topics = [topicOf(id)];
    const of = { version: 1, migration: id, epoch: 12, topics, groups: [groupOf(id)], leaseMs: 10_000 };
    const state = { ...of, ...routingOf(id), writtenAt: new Date().toISOString(), reason: 'benchmark' };
    return { key: id, value: JSON.stringify(state), partition: 0 };
  });
  await producer.send({ topic: 'owlmq-bridge.routing', messages });
  await producer.disconnect();
}

function routingOf(id: string) {
  const shadowFrom = { [topicOf(id)]: [0] };
  return { ratio: 1, primary: 'kafka', mirror: true, live: 'kafka', shadow: 'compare', shadowFrom } as const;
}

/** Starts them where a run continues that has come to its soak. */
async function park(): Promise<void> {
  const ends = await observationEnds({ brokers: [...engines.kafka.brokers] });
  const errors = await eachLimited(ids, AT_A_TIME, async (id) => {
    const topic = topicOf(id);
    const input: MigrationInput = { topics: [topic], groups: [groupOf(id)] };
    const carried: CarriedOver = {
      plan: parseMigrationInput(input),
      state: {
        ...newMigrationState(new Date().toISOString()),
        ...{ phase: 'shadow-soak', epoch: 12, partitions: { [topic]: 1 }, observationsFrom: ends },
        routing: routingOf(id),
        ratio: { wanted: 1, acknowledged: 1, settled: true },
        ...{ auditFrom: { [topic]: [0] }, coverage: { [topic]: [0] } },
      },
    };
    await workflow.start('migrateKafkaToOwlmq', { taskQueue: TASK_QUEUE, workflowId: id, args: [input, carried] });
  });
  throwAll(errors, 'starts', 'migrations');
}

/** Pauses some of them, one after the other, and lets them go on. */
async function pauseSome(): Promise<{ queryMs: number; pauseMs: number }[]> {
  const times: { queryMs: number; pauseMs: number }[] = [];
  const step = Math.max(1, Math.floor(MIGRATIONS / SIGNALS));
  for (const id of ids.filter((_, index) => index % step === 0).slice(0, SIGNALS)) {
    const handle = workflow.getHandle(id);
    const asked = performance.now();
    await statusOf(handle);
    const queryMs = performance.now() - asked;
    const begun = performance.now();
    await handle.signal('pause', { by: 'the benchmark' });
    await untilPaused(handle, begun);
    times.push({ queryMs, pauseMs: performance.now() - begun });
    await handle.signal('resume');
  }
  return times;
}

async function statusOf(handle: WorkflowHandle): Promise<MigrationStatus> {
  return await connection.withDeadline(Date.now() + ANSWER_WITHIN_MS, () => handle.query<MigrationStatus>('status'));
}

async function untilPaused(handle: WorkflowHandle, begun: number): Promise<void> {
  for (;;) {
    const { waiting } = await statusOf(handle);
    if (waiting?.for === 'the resume signal') return;
    if (performance.now() - begun > PAUSE_WITHIN_MS) {
      log(`${handle.workflowId} has not taken its pause within ${PAUSE_WITHIN_MS} ms`);
      return;
    }
    await sleep(20);
  }
}

async function residentMb(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid ?? 0}/status`, 'utf8').catch(() => '');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024);
}

/** The process whose command line has these words. */
async function pidOf(words: string): Promise<number | undefined> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (
      pid !== process.pid &&
      line.replaceAll('\0', ' ').includes(`start-dev`) &&
      line.replaceAll('\0', ' ').includes(words)
    )
      return pid;
  }
  return undefined;
}

/** Established ones of all processes, this one's few among them. */
async function connectionsTo(broker: string): Promise<number> {
  const port = Number(broker.split(':').at(-1)).toString(16).toUpperCase().padStart(4, '0');
  const tables = await Promise.all(['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8')));
  return tables
    .join('\n')
    .split('\n')
    .filter((line) => {
      const [, , remote = '', state] = line.trim().split(/\s+/);
      return state === '01' && remote.endsWith(`:${port}`);
    }).length;
}

function percentiles(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(0);
  return `${at(0.5)} ms, ${at(0.99)} ms`;
}

function row(what: string, value: string): void {
  console.log(`| ${what} | ${value} |`);
}
