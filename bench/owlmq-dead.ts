import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';
import { DualPublisher, OwlmqClient } from '@owlmq/kafka-bridge';
import { ForwardAudit } from '@owlmq/kafka-bridge/operations';
import { GuardedProcess } from '../engines/process/guarded-process.js';
import { makeOwnedFolder } from '../engines/process/owned-folder.js';
import { freePort } from '../engines/run/free-port.js';
import { keptApiKey, owlmqPlan } from '../engines/run/owlmq.js';
import { startEngines } from '../engines/start-engines.js';

/**
 * What a dead OwlMQ costs a service before the cutover: one publisher that copies everything, under steady load, while
 * OwlMQ is killed, stays away for minutes and comes back. Prints memory and latency every half minute; then the audit
 * must find exactly the copies that the publisher dropped, and put them in.
 *
 * `npm run bench:owlmq-dead -- --minutes 10 --rate 2000`
 */
const { values: args } = parseArgs({
  options: {
    /** How long OwlMQ is dead. */
    minutes: { type: 'string', default: '10' },
    /** Messages a second. */
    rate: { type: 'string', default: '2000' },
    /** Size of a value. */
    bytes: { type: 'string', default: '1024' },
  },
});
const MINUTES = Number(args.minutes);
const RATE = Number(args.rate);
const VALUE = randomBytes(Number(args.bytes));
const TOPIC = 'bench.owlmq-dead';
const PARTITIONS = 6;
const KEYS = 500;
const REPORT_MS = 30_000;
const HEALTHY_MS = 60_000;
const TICK_MS = 10;
/** A publisher that blocked its callers would show here: the load then stands still. */
const MOST_OUTSTANDING = 20_000;

/** An owlmq-local on one port and one folder, that can be killed and started again. */
class MortalOwlmq {
  static async in(folder: string): Promise<MortalOwlmq> {
    await mkdir(folder, { recursive: true });
    const owlmq = new MortalOwlmq(folder, await freePort(), await keptApiKey(folder));
    await owlmq.start();
    return owlmq;
  }

  #process: GuardedProcess | undefined;

  private constructor(
    readonly folder: string,
    readonly port: number,
    readonly apiKey: string,
  ) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const plan = owlmqPlan(this.apiKey, this.folder);
    const { graceMs, title: name } = plan;
    const command = await plan.command({ http: this.port }, undefined);
    this.#process = await GuardedProcess.start(command, { name, graceMs, logFile: join(this.folder, 'owlmq.log') });
    const deadline = performance.now() + plan.readyWithinMs;
    for (;;) {
      try {
        await plan.probe({ http: this.port });
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await delay(100);
      }
    }
  }

  async kill(): Promise<void> {
    if (this.#process === undefined) return;
    process.kill(this.#process.id.pid, 'SIGKILL');
    await this.#process.ended;
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
  }
}

/** Publishes at a steady rate until it is stopped, and keeps the latencies since the last look. */
class Load {
  acknowledged = 0;
  failed = 0;
  #latencies: number[] = [];
  #outstanding = 0;
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(private readonly publisher: DualPublisher) {
    this.#running = this.#run();
  }

  /** Latencies of the calls that were settled since the last call of this, ms, sorted. */
  takeLatencies(): number[] {
    return this.#latencies.splice(0).sort((a, b) => a - b);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    while (this.#outstanding > 0) await delay(TICK_MS);
  }

  async #run(): Promise<void> {
    const began = performance.now();
    let sent = 0;
    while (!this.#stopped) {
      await delay(TICK_MS);
      const due = Math.floor(((performance.now() - began) / 1_000) * RATE);
      for (; sent < due && this.#outstanding < MOST_OUTSTANDING; sent++) this.#publish(`key-${sent % KEYS}`);
    }
  }

  #publish(key: string): void {
    const started = performance.now();
    this.#outstanding++;
    this.publisher
      // A value of its own each, as in a service: what waits for OwlMQ is kept in memory.
      .publish(TOPIC, Buffer.from(VALUE), { key })
      .then(
        () => {
          this.acknowledged++;
        },
        () => {
          this.failed++;
        },
      )
      .finally(() => {
        this.#outstanding--;
        this.#latencies.push(performance.now() - started);
      });
  }
}

function quantile(sorted: readonly number[], share: number): string {
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

/** Lets the load run, and prints a line every half minute. */
async function watch(title: string, ms: number, load: Load, publisher: DualPublisher): Promise<void> {
  for (let past = 0; past < ms; past += REPORT_MS) {
    await delay(Math.min(REPORT_MS, ms - past));
    const latencies = load.takeLatencies();
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
    const { backlog, dropped } = publisher.status();
    const memory = `${mebibytes(rss)} | ${mebibytes(heapUsed)} | ${mebibytes(arrayBuffers)}`;
    const calls = `${latencies.length} | ${quantile(latencies, 0.5)} | ${quantile(latencies, 0.99)}`;
    const seconds = Math.round(Math.min(past + REPORT_MS, ms) / 1_000);
    console.log(`| ${title} ${seconds} s | ${memory} | ${calls} | ${backlog} | ${dropped} |`);
  }
}

async function main(): Promise<void> {
  const engines = await startEngines({ want: ['kafka'] });
  const folder = await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq-bench');
  const brokers = [...engines.kafka.brokers];
  const admin = new Kafka({ brokers, logLevel: logLevel.ERROR }).admin();
  const server = await MortalOwlmq.in(folder);
  const owlmq = new OwlmqClient(server);
  const publisher = new DualPublisher({ kafka: { brokers }, owlmq: server, ratio: 1 });
  try {
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: PARTITIONS }], waitForLeaders: true });
    await owlmq.createTopic(TOPIC, PARTITIONS);
    await publisher.connect();
    console.log(`${RATE} messages a second of ${VALUE.length} B, all copied; OwlMQ is dead for ${MINUTES} minutes\n`);
    console.log('| | RSS MiB | heap MiB | buffers MiB | calls | p50 ms | p99 ms | backlog | dropped |');
    console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
    const load = new Load(publisher);
    await watch('healthy', HEALTHY_MS, load, publisher);
    await server.kill();
    await watch('dead', MINUTES * 60_000, load, publisher);
    await server.start();
    await watch('back', HEALTHY_MS, load, publisher);
    await load.stop();
    await publisher.flush();
    const { dropped, copyErrors } = publisher.status();
    console.log(`\n${load.acknowledged} acknowledged, ${load.failed} failed, ${copyErrors} requests to OwlMQ failed.`);
    await repair(brokers, owlmq, { acknowledged: load.acknowledged, dropped });
    if (load.failed > 0) throw new Error(`${load.failed} calls failed while only OwlMQ was dead.`);
  } finally {
    await publisher.close();
    await Promise.all([admin.disconnect(), owlmq.close()]);
    await server.stop();
    await engines.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Lets the audit put in what was dropped, and fails when that is not exactly what OwlMQ lacked. */
async function repair(
  brokers: string[],
  owlmq: OwlmqClient,
  { acknowledged, dropped }: { acknowledged: number; dropped: number },
): Promise<void> {
  const zeros = { [TOPIC]: Array.from({ length: PARTITIONS }, () => 0) };
  const audit = new ForwardAudit({ connection: { brokers }, owlmq, topics: [TOPIC], positions: zeros, graceMs: 500 });
  const started = performance.now();
  try {
    let report = await audit.step({ maxMs: 30_000 });
    while (!report.complete) report = await audit.step({ maxMs: 30_000 });
    const figures = report.checkpoint.figures[TOPIC];
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    const held = (await owlmq.describeTopic(TOPIC))?.partitions.reduce((sum, { endOffset }) => sum + endOffset, 0);
    console.log(`${dropped} copies were dropped; the audit missed ${figures?.missing} and wrote ${figures?.repaired}`);
    console.log(`in ${seconds} s over ${figures?.kafka.messages} records. OwlMQ holds ${held} messages.`);
    if (figures?.missing !== dropped || figures.repaired !== dropped || held !== acknowledged) {
      throw new Error('What the audit repaired is not what was dropped, or OwlMQ does not hold what was published.');
    }
  } finally {
    await audit.close();
  }
}

await main();
