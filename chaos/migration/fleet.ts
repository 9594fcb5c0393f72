import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { READY } from '../../demo/child-process.js';
import { checkoutRoot } from '../../engines/checkout.js';
import { EngineStartError } from '../../engines/errors.js';
import type { Log } from '../../engines/fetch/progress.js';
import type { KafkaTools } from '../../engines/find/kafka-tools.js';
import { programPlan } from '../../engines/run/program.js';
import type { ServerPlan } from '../../engines/run/server-plan.js';
import { DisposableProcess } from '../rig/disposable-process.js';
import type { Links } from '../rig/toxiproxy.js';
import type { PublisherEnvironment } from '../services/publisher-settings.js';
import type { ConsumerEnvironment } from './services/consumer-settings.js';
import { javaProducerPlan } from './services/java-producer.js';

export interface FleetOptions {
  readonly migration: string;
  readonly taskQueue: string;
  readonly topics: readonly string[];
  readonly groups: readonly string[];
  readonly membersPerGroup: number;
  /** Producers with the library; one more has none. */
  readonly producers: number;
  /** Messages a second of all producers with the library together. */
  readonly rate: number;
  /** Of the one without. */
  readonly javaRate: number;
  readonly keys: number;
  readonly seed: number;
  readonly tools: KafkaTools;
  readonly temporalAddress: string;
  readonly apiKey: string;
  readonly folder: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export type MemberKind = 'producer' | 'java-producer' | 'consumer' | 'worker';

/** One process of the fleet, over all its starts. */
export interface Member {
  readonly name: string;
  readonly kind: MemberKind;
  readonly links: Links;
  /** Of a consumer. */
  readonly group?: string;
  /** Number of a producer. */
  readonly producer?: number;
  /** Journal of each start of a producer with the library or a consumer; log of each start of the other producer. */
  readonly evidence: string[];
}

/** After what a process that has ended by itself is started anew. */
const SUPERVISOR_MS = 1_000;
const WORKER_START_MS = 60_000;

/** How many links the rig needs. */
export function linksNeeded(options: Pick<FleetOptions, 'producers' | 'groups' | 'membersPerGroup'>): number {
  return options.producers + 1 + options.groups.length * options.membersPerGroup + 1;
}

/** Worker, producers and consumers, each a process with links of its own, which may be killed, frozen and started anew. */
export class MigrationFleet {
  readonly members: readonly Member[];
  /** Ends of producers and consumers that nobody wanted, in words. */
  readonly crashes: string[] = [];
  /** Of the worker: it may give up where it does not reach what it needs, and is then started anew, as in production. */
  readonly workerEnds: string[] = [];
  readonly #options: FleetOptions;
  readonly #processes = new Map<string, DisposableProcess>();
  #closing = false;

  constructor(options: FleetOptions, links: readonly Links[]) {
    this.#options = options;
    const { producers, groups, membersPerGroup } = options;
    const names: Omit<Member, 'links' | 'evidence'>[] = [
      ...Array.from({ length: producers }, (_, producer) => ({
        ...{ name: `producer-${producer}`, kind: 'producer' as const, producer },
      })),
      { name: 'java-producer', kind: 'java-producer', producer: producers },
      ...groups.flatMap((group) =>
        Array.from({ length: membersPerGroup }, (_, index) => ({
          ...{ name: `${group}-${index + 1}`, kind: 'consumer' as const, group },
        })),
      ),
      { name: 'worker', kind: 'worker' },
    ];
    this.members = names.map((member, index) => {
      const own = links[index];
      if (own === undefined) throw new RangeError(`There is no link for ${member.name}.`);
      return { ...member, links: own, evidence: [] };
    });
  }

  of(...kinds: readonly MemberKind[]): Member[] {
    return this.members.filter(({ kind }) => kinds.includes(kind));
  }

  /** @throws EngineStartError; a worker is tried again for a while first. */
  async start(member: Member): Promise<void> {
    const { log, signal } = this.#options;
    const giveUpAt = performance.now() + WORKER_START_MS;
    for (;;) {
      const plan = this.#plan(member, member.evidence.length + 1);
      try {
        const onCrash = (what: string): void => {
          this.#crashed(member, what);
        };
        this.#processes.set(member.name, await DisposableProcess.start(plan, { log, signal, onCrash }));
        return;
      } catch (error) {
        const again = error instanceof EngineStartError && member.kind === 'worker' && performance.now() < giveUpAt;
        if (!again) throw error;
        this.workerEnds.push(error.message);
        await delay(SUPERVISOR_MS, undefined, { signal });
      }
    }
  }

  async startAll(...kinds: readonly MemberKind[]): Promise<void> {
    await Promise.all(this.of(...kinds).map((member) => this.start(member)));
  }

  async kill({ name }: Member): Promise<void> {
    await this.#processes.get(name)?.kill();
  }

  async freeze({ name }: Member): Promise<void> {
    await this.#processes.get(name)?.freeze();
  }

  async thaw({ name }: Member): Promise<void> {
    await this.#processes.get(name)?.thaw();
  }

  /** SIGTERM: each settles what it has and ends. */
  async stopAll(...kinds: readonly MemberKind[]): Promise<void> {
    await Promise.all(this.of(...kinds).map(async ({ name }) => this.#processes.get(name)?.stop()));
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#processes.values()].map((process) => process.stop()));
  }

  /** Bytes that members of a kind have written down. */
  bytesWritten(kind: MemberKind): number {
    return this.of(kind)
      .flatMap(({ evidence }) => evidence)
      .reduce((sum, file) => sum + (existsSync(file) ? statSync(file).size : 0), 0);
  }

  #crashed(member: Member, what: string): void {
    if (member.kind !== 'worker') {
      this.crashes.push(what);
      return;
    }
    this.workerEnds.push(what);
    const crashed = this.#processes.get(member.name);
    delay(SUPERVISOR_MS, undefined, { signal: this.#options.signal })
      .then(async () => {
        // A fault may have taken it over.
        const isLast = crashed === this.#processes.get(member.name) && crashed?.endWanted !== true;
        if (!this.#closing && isLast) await this.start(member);
      })
      .catch((error: unknown) => {
        if (!this.#closing) this.crashes.push(`worker could not be started anew: ${String(error)}`);
      });
  }

  #plan(member: Member, start: number): ServerPlan<never> {
    const { folder, topics, keys, seed, migration, tools, javaRate, taskQueue, temporalAddress } = this.#options;
    const { name, kind, links, evidence, group = '', producer = 0 } = member;
    const id = `${name}.${start}`;
    const broker = `127.0.0.1:${links.kafka.port}`;
    if (kind === 'java-producer') {
      evidence.push(join(folder, `${id}.log`));
      const topic = topics.at(-1) ?? '';
      return javaProducerPlan({ tools, id, folder, broker, topic, start, keys, rate: javaRate });
    }
    const journal = join(folder, `${id}.journal`);
    evidence.push(journal);
    const legs = {
      ...{ KAFKA_BROKERS: broker, OWLMQ_URL: `http://127.0.0.1:${links.owlmq.port}` },
      OWLMQ_API_KEY: this.#options.apiKey,
    };
    const common = {
      ...{ ...legs, MIGRATION: migration, CHAOS_LOG: journal },
      ...{ CHAOS_TOPICS: topics.join(','), CHAOS_KEYS: String(keys), CHAOS_SEED: String(seed) },
    };
    const program = (script: string, env: Readonly<Record<string, string>>, readyLine?: RegExp) => {
      const path = join(checkoutRoot, 'dist', script);
      return programPlan({ id, script: path, ...(readyLine === undefined ? {} : { readyLine }) }, env, folder);
    };
    const ready = new RegExp(`^${READY}$`, 'm');
    const services = join('chaos', 'migration', 'services');
    if (kind === 'producer') {
      const env: PublisherEnvironment & typeof common = {
        ...{ ...common, CHAOS_PUBLISHER: String(producer), CHAOS_INCARNATION: String(start) },
        CHAOS_RATE: String(this.#options.rate / this.#options.producers),
      };
      return program(join(services, 'producer.js'), env, ready);
    }
    if (kind === 'consumer') {
      const foreign = String(this.#options.producers);
      const env: ConsumerEnvironment & typeof common = { ...common, CHAOS_GROUP: group, CHAOS_FOREIGN: foreign };
      return program(join(services, 'consumer.js'), env, ready);
    }
    // Whether it reaches anything at its start is the harness's decision.
    const env = { ...legs, TEMPORAL_ADDRESS: temporalAddress, TEMPORAL_TASK_QUEUE: taskQueue };
    return program(join('src', 'worker.js'), env);
  }
}
