import { join } from 'node:path';
import { checkoutRoot } from '../engines/checkout.js';
import type { Log } from '../engines/fetch/progress.js';
import type { GuardedProcess } from '../engines/process/guarded-process.js';
import { launch } from '../engines/run/launch.js';
import { programPlan } from '../engines/run/program.js';
import { READY, type ConsumerEnvironment, type ProducerEnvironment } from './child-process.js';
import { appliedSchema, EventLogReader, producedSchema, type Applied, type Produced } from './event-log.js';
import type { SampleTopics } from './sample-data.js';

/** The sample services of a trial, and how much they do. */
export interface FleetOptions {
  readonly migration: string;
  readonly taskQueue: string;
  readonly topics: SampleTopics;
  readonly groups: readonly string[];
  readonly membersPerGroup: number;
  readonly producers: number;
  /** Messages a second of all producers together. */
  readonly rate: number;
  /** Messages a second of one more producer, which does not use the library; none without. */
  readonly foreignRate?: number | undefined;
  readonly keys: number;
  readonly seed: number;
  /** Addresses of the engines, and OwlMQ's key. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the processes' logs go, those of events among them. */
  readonly folder: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

interface Child {
  readonly name: string;
  readonly process: GuardedProcess;
  stopping: boolean;
}

/** A process of the fleet has ended though nobody stopped it. */
export class FleetProcessEndedError extends Error {
  override readonly name = 'FleetProcessEndedError';
}

const READY_LINE = new RegExp(`^${READY}$`, 'm');

/**
 * The worker, producers and consumers of a trial, each a process of its own that cannot outlive this one; and what
 * they wrote down so far.
 */
export class Fleet {
  /** All that producers have written down. */
  readonly produced: Produced[] = [];
  /** How many of the publishes were acknowledged. */
  acknowledged = 0;
  /** All that consumers have applied, by group. */
  readonly applied = new Map<string, Applied[]>();
  readonly #options: FleetOptions;
  readonly #children: { worker: Child[]; producers: Child[]; foreign: Child[]; consumers: Child[] } = {
    worker: [],
    producers: [],
    foreign: [],
    consumers: [],
  };
  readonly #producedLogs: EventLogReader<Produced>[] = [];
  readonly #appliedLogs: { group: string; log: EventLogReader<Applied> }[] = [];
  #died: FleetProcessEndedError | undefined;
  #producerGeneration = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    for (const group of options.groups) this.applied.set(group, []);
  }

  async startWorker(): Promise<void> {
    const { taskQueue, migration } = this.#options;
    const env = { TEMPORAL_TASK_QUEUE: taskQueue, MIGRATION: migration };
    await this.#start('worker', 'worker', join('src', 'worker.js'), env, /worker is running/);
  }

  async startConsumers(): Promise<void> {
    const { groups, membersPerGroup, migration, topics } = this.#options;
    await Promise.all(
      groups.flatMap((group) =>
        Array.from({ length: membersPerGroup }, async (_, index) => {
          const member = `${group}-${index + 1}`;
          const env: Omit<ConsumerEnvironment, 'KAFKA_BROKERS'> = {
            MIGRATION: migration,
            DEMO_LOG: this.#eventLog(member),
            DEMO_TOPICS: Object.values(topics).join(','),
            DEMO_GROUP: group,
            DEMO_MEMBER: member,
          };
          this.#appliedLogs.push({ group, log: new EventLogReader(env.DEMO_LOG, appliedSchema) });
          await this.#start('consumers', member, join('demo', 'consumer.js'), env, READY_LINE);
        }),
      ),
    );
  }

  /** May be called again after `stopProducers`: the new ones make other messages. */
  async startProducers(): Promise<void> {
    const { producers, rate } = this.#options;
    this.#producerGeneration++;
    const generation = this.#producerGeneration;
    await Promise.all(
      Array.from({ length: producers }, async (_, index) => {
        const name = `producer-${index + 1}${generation === 1 ? '' : `-${generation}`}`;
        const env = this.#producerEnvironment(name, index, rate / producers);
        await this.#start('producers', name, join('demo', 'producer.js'), env, READY_LINE);
      }),
    );
  }

  /** Starts the producer that does not use the library, where there is to be one. */
  async startForeignProducer(): Promise<void> {
    const { producers, foreignRate } = this.#options;
    if (foreignRate === undefined) return;
    const name = 'foreign-producer';
    const env = this.#producerEnvironment(name, producers, foreignRate);
    await this.#start('foreign', name, join('demo', 'foreign-producer.js'), env, READY_LINE);
  }

  /** Keys are shared between all producers, also one that is yet to come. */
  #producerEnvironment(name: string, index: number, rate: number): Omit<ProducerEnvironment, 'KAFKA_BROKERS'> {
    const { producers, foreignRate, keys, seed, migration, topics } = this.#options;
    const log = this.#eventLog(name);
    this.#producedLogs.push(new EventLogReader(log, producedSchema));
    return {
      MIGRATION: migration,
      DEMO_LOG: log,
      DEMO_ORDERS_TOPIC: topics.orders,
      DEMO_PAYMENTS_TOPIC: topics.payments,
      DEMO_PRODUCER: String(index),
      DEMO_PRODUCERS: String(producers + (foreignRate === undefined ? 0 : 1)),
      DEMO_KEYS: String(keys),
      DEMO_RATE: String(rate),
      DEMO_SEED: String(seed),
    };
  }

  /** Reads what the processes wrote down since the last look. @throws FleetProcessEndedError */
  async look(): Promise<void> {
    for (const log of this.#producedLogs) {
      for (const event of await log.read()) {
        this.produced.push(event);
        if (event.event === 'settled' && event.outcome === 'acknowledged') this.acknowledged++;
      }
    }
    for (const { group, log } of this.#appliedLogs) {
      const events = this.applied.get(group);
      for (const event of await log.read()) events?.push(event);
    }
    if (this.#died !== undefined) throw this.#died;
  }

  async stopProducers(): Promise<void> {
    await Promise.all(this.#children.producers.map(stop));
  }

  async stopForeignProducer(): Promise<void> {
    await Promise.all(this.#children.foreign.map(stop));
  }

  async stopConsumers(): Promise<void> {
    await Promise.all(this.#children.consumers.map(stop));
  }

  /** Ends everything; safe to call more than once. */
  async stop(): Promise<void> {
    await this.stopProducers();
    await this.stopForeignProducer();
    await this.stopConsumers();
    await Promise.all(this.#children.worker.map(stop));
    for (const log of this.#producedLogs) await log.close();
    for (const { log } of this.#appliedLogs) await log.close();
  }

  #eventLog(name: string): string {
    return join(this.#options.folder, `${name}.events.jsonl`);
  }

  async #start(
    kind: 'worker' | 'producers' | 'foreign' | 'consumers',
    id: string,
    script: string,
    env: Readonly<Record<string, string>>,
    readyLine: RegExp,
  ): Promise<void> {
    const { folder, log, signal } = this.#options;
    const program = { id, script: join(checkoutRoot, 'dist', script), readyLine };
    const plan = programPlan(program, { ...this.#options.env, ...env }, folder);
    const { process, logFile } = await launch(plan, { ports: 'free', log, signal, temporary: false });
    const child: Child = { name: id, process, stopping: false };
    this.#children[kind].push(child);
    const ended = (how: string): void => {
      if (child.stopping) return;
      this.#died ??= new FleetProcessEndedError(`${id} has ended by itself (${how}); its log: ${logFile}`);
    };
    process.ended.then(
      (ending) => {
        ended('code' in ending ? `exit code ${ending.code}` : ending.signal);
      },
      (error: unknown) => {
        ended(String(error));
      },
    );
  }
}

async function stop(child: Child): Promise<void> {
  child.stopping = true;
  await child.process.stop();
}
