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
  /** Another program of the worker's, and what it is told, asked for at each start. */
  readonly worker?: { readonly script: string; readonly environment: () => Record<string, string> };
  /** Session timeout of consumers, ms; the library's own without. */
  readonly sessionTimeoutMs?: number;
  /** Addresses of the engines, and OwlMQ's key. */
  readonly env: Readonly<Record<string, string>>;
  /** What processes of a kind get on top of that, such as credentials of their own. */
  readonly envOf?: Partial<Readonly<Record<Kind, Readonly<Record<string, string>>>>>;
  /** Where the processes' logs go, those of events among them. */
  readonly folder: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

type Kind = 'worker' | 'producers' | 'foreign' | 'consumers';

/** A process of the fleet, and what it takes to start it anew. */
interface Member {
  readonly name: string;
  readonly kind: Kind;
  readonly script: string;
  readonly readyLine: RegExp;
  /** Environment of its next process; a further event log is the last one's successor. */
  readonly environment: (eventLog: string) => Record<string, string>;
  /** How many processes of it there have been. */
  starts: number;
  process: GuardedProcess | undefined;
  frozen: boolean;
  /** Its end is wanted. */
  ending: boolean;
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
  readonly #members = new Map<string, Member>();
  readonly #producedLogs: { producer: number; log: EventLogReader<Produced> }[] = [];
  readonly #appliedLogs: { group: string; log: EventLogReader<Applied> }[] = [];
  /** Messages that each producer has begun to publish, over all its processes. */
  readonly #begun = new Map<number, number>();
  #reading: Promise<void> = Promise.resolve();
  #died: FleetProcessEndedError | undefined;
  #producerGeneration = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    for (const group of options.groups) this.applied.set(group, []);
  }

  async startWorker(): Promise<void> {
    const { taskQueue, migration, worker } = this.#options;
    const environment = () => ({ TEMPORAL_TASK_QUEUE: taskQueue, MIGRATION: migration, ...worker?.environment() });
    const script = worker?.script ?? join('src', 'worker.js');
    await this.#add({ name: 'worker', kind: 'worker', script, environment, readyLine: /worker is running/ });
  }

  async startConsumers(): Promise<void> {
    const { groups, membersPerGroup, migration, topics, sessionTimeoutMs } = this.#options;
    await Promise.all(
      groups.flatMap((group) =>
        Array.from({ length: membersPerGroup }, async (_, index) => {
          const name = `${group}-${index + 1}`;
          const environment = (eventLog: string): Omit<ConsumerEnvironment, 'KAFKA_BROKERS'> => {
            this.#appliedLogs.push({ group, log: new EventLogReader(eventLog, appliedSchema) });
            return {
              MIGRATION: migration,
              DEMO_LOG: eventLog,
              DEMO_TOPICS: Object.values(topics).join(','),
              DEMO_GROUP: group,
              DEMO_MEMBER: name,
              DEMO_SESSION_TIMEOUT: String(sessionTimeoutMs ?? ''),
            };
          };
          const script = join('demo', 'consumer.js');
          await this.#add({ name, kind: 'consumers', script, environment, readyLine: READY_LINE });
        }),
      ),
    );
  }

  /** May be called again after `stopProducers`: the new ones make other messages. */
  async startProducers(): Promise<void> {
    const { producers, rate } = this.#options;
    this.#producerGeneration++;
    const generation = this.#producerGeneration;
    await this.#read();
    await Promise.all(
      Array.from({ length: producers }, async (_, index) => {
        const name = `producer-${index + 1}${generation === 1 ? '' : `-${generation}`}`;
        const environment = this.#producerEnvironment(index, rate / producers);
        const script = join('demo', 'producer.js');
        await this.#add({ name, kind: 'producers', script, environment, readyLine: READY_LINE });
      }),
    );
  }

  /** Starts the producer that does not use the library, where there is to be one. */
  async startForeignProducer(): Promise<void> {
    const { producers, foreignRate } = this.#options;
    if (foreignRate === undefined) return;
    const environment = this.#producerEnvironment(producers, foreignRate);
    const script = join('demo', 'foreign-producer.js');
    await this.#add({ name: 'foreign-producer', kind: 'foreign', script, environment, readyLine: READY_LINE });
  }

  /** Keys are shared between all producers, also one that is yet to come. */
  #producerEnvironment(
    producer: number,
    rate: number,
  ): (eventLog: string) => Omit<ProducerEnvironment, 'KAFKA_BROKERS'> {
    const { producers, foreignRate, keys, seed, migration, topics } = this.#options;
    return (eventLog) => {
      this.#producedLogs.push({ producer, log: new EventLogReader(eventLog, producedSchema) });
      return {
        MIGRATION: migration,
        DEMO_LOG: eventLog,
        DEMO_ORDERS_TOPIC: topics.orders,
        DEMO_PAYMENTS_TOPIC: topics.payments,
        DEMO_PRODUCER: String(producer),
        DEMO_PRODUCERS: String(producers + (foreignRate === undefined ? 0 : 1)),
        DEMO_KEYS: String(keys),
        DEMO_RATE: String(rate),
        DEMO_SEED: String(seed),
        DEMO_BEGUN: String(this.#begun.get(producer) ?? 0),
      };
    };
  }

  /** Names of the processes that run, frozen ones among them: of the worker, the producers or the consumers. */
  running(kind: Kind): string[] {
    return this.#of(kind)
      .filter(({ process }) => process !== undefined)
      .map(({ name }) => name);
  }

  /** SIGKILL. Resolves once the process is gone; `startAgain` starts another in its place. */
  async kill(name: string): Promise<void> {
    const ended = this.expectEnd(name);
    await this.#member(name).process?.signal('SIGKILL');
    await ended;
  }

  /** Resolves once the process has ended, by whatever or whomever: from now on that is no fault. */
  async expectEnd(name: string): Promise<void> {
    const member = this.#member(name);
    member.ending = true;
    await member.process?.ended;
    member.process = undefined;
  }

  /** SIGSTOP. */
  async freeze(name: string): Promise<void> {
    const member = this.#member(name);
    member.frozen = true;
    await member.process?.signal('SIGSTOP');
  }

  async thaw(name: string): Promise<void> {
    const member = this.#member(name);
    await member.process?.signal('SIGCONT');
    member.frozen = false;
  }

  /** Starts one that was killed; a producer goes on behind the messages that it had begun to publish. */
  async startAgain(name: string): Promise<void> {
    const member = this.#member(name);
    if (member.process !== undefined) throw new Error(`${name} still runs.`);
    await this.#read();
    await this.#start(member);
  }

  /** Reads what the processes wrote down since the last look. @throws FleetProcessEndedError */
  async look(): Promise<void> {
    await this.#read();
    if (this.#died !== undefined) throw this.#died;
  }

  async #read(): Promise<void> {
    this.#reading = this.#reading.then(async () => {
      for (const { producer, log } of this.#producedLogs) {
        for (const event of await log.read()) {
          this.produced.push(event);
          if (event.event === 'sent') this.#begun.set(producer, (this.#begun.get(producer) ?? 0) + 1);
          else if (event.outcome === 'acknowledged') this.acknowledged++;
        }
      }
      for (const { group, log } of this.#appliedLogs) {
        const events = this.applied.get(group);
        for (const event of await log.read()) events?.push(event);
      }
    });
    await this.#reading;
  }

  async stopProducers(): Promise<void> {
    await this.#stopAll('producers');
  }

  async stopForeignProducer(): Promise<void> {
    await this.#stopAll('foreign');
  }

  async stopConsumers(): Promise<void> {
    await this.#stopAll('consumers');
  }

  /** Ends everything; safe to call more than once. */
  async stop(): Promise<void> {
    await this.stopProducers();
    await this.stopForeignProducer();
    await this.stopConsumers();
    await this.#stopAll('worker');
    for (const { log } of [...this.#producedLogs, ...this.#appliedLogs]) await log.close();
  }

  #of(kind: Kind): Member[] {
    return [...this.#members.values()].filter((member) => member.kind === kind);
  }

  #member(name: string): Member {
    const member = this.#members.get(name);
    if (member === undefined) throw new RangeError(`The fleet has no ${name}.`);
    return member;
  }

  async #stopAll(kind: Kind): Promise<void> {
    await Promise.all(
      this.#of(kind).map(async (member) => {
        member.ending = true;
        // A frozen one would only end by the kill behind the grace.
        if (member.frozen) await this.thaw(member.name);
        await member.process?.stop();
        member.process = undefined;
      }),
    );
  }

  async #add(member: Pick<Member, 'name' | 'kind' | 'script' | 'readyLine' | 'environment'>): Promise<void> {
    const added: Member = { ...member, starts: 0, process: undefined, frozen: false, ending: false };
    this.#members.set(member.name, added);
    await this.#start(added);
  }

  async #start(member: Member): Promise<void> {
    const { folder, log, signal, env, envOf } = this.#options;
    member.starts++;
    // A process that was killed may leave half a line: nothing is appended to that.
    const id = member.starts === 1 ? member.name : `${member.name}.${member.starts}`;
    const program = { id, script: join(checkoutRoot, 'dist', member.script), readyLine: member.readyLine };
    const own = envOf?.[member.kind] ?? {};
    const environment = { ...env, ...own, ...member.environment(join(folder, `${id}.events.jsonl`)) };
    const { process, logFile } = await launch(programPlan(program, environment, folder), {
      ports: 'free',
      log,
      signal,
      temporary: false,
    });
    Object.assign(member, { process, frozen: false, ending: false });
    const ended = (how: string): void => {
      if (member.ending || member.process !== process) return;
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
