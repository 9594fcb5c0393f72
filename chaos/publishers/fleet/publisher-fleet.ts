import { join } from 'node:path';
import { EventLogReader } from '../../../demo/event-log.js';
import { checkoutRoot } from '../../../engines/checkout.js';
import type { Log } from '../../../engines/fetch/progress.js';
import { programPlan } from '../../../engines/run/program.js';
import { READY } from '../../../demo/child-process.js';
import { DisposableProcess } from '../../rig/disposable-process.js';
import type { Links } from '../../rig/toxiproxy.js';
import { Publications } from './publications.js';
import { publishEventSchema, type PublishEvent } from './publish-log.js';
import type { PublisherEnvironment } from '../../services/publisher-settings.js';

export interface PublisherFleetOptions {
  readonly migration: string;
  readonly topics: readonly string[];
  /** One publisher each. */
  readonly links: readonly Links[];
  readonly apiKey: string;
  /** Messages a second of all publishers together. */
  readonly rate: number;
  readonly keys: number;
  readonly seed: number;
  readonly folder: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

interface OutcomeLog {
  publisher: number;
  incarnation: number;
  reader: EventLogReader<PublishEvent>;
}

/** The publisher processes: each may be killed, frozen and started again, and writes down what became of its calls. */
export class PublisherFleet {
  readonly publications = new Publications();
  /** Ends that nobody wanted, in words. */
  readonly crashes: string[] = [];
  readonly #options: PublisherFleetOptions;
  readonly #processes: (DisposableProcess | undefined)[] = [];
  readonly #incarnations: number[];
  readonly #logs: OutcomeLog[] = [];
  #looking: Promise<void> = Promise.resolve();

  constructor(options: PublisherFleetOptions) {
    this.#options = options;
    this.#incarnations = options.links.map(() => 0);
  }

  get size(): number {
    return this.#options.links.length;
  }

  async startAll(): Promise<void> {
    await Promise.all(this.#options.links.map((_, publisher) => this.start(publisher)));
  }

  async start(publisher: number): Promise<void> {
    const { folder, log, signal, links, migration, topics, keys, seed, rate, apiKey } = this.#options;
    const link = links[publisher];
    if (link === undefined) throw new RangeError(`There is no publisher ${publisher}.`);
    const incarnation = (this.#incarnations[publisher] ?? 0) + 1;
    this.#incarnations[publisher] = incarnation;
    const name = `publisher-${publisher}.${incarnation}`;
    const env: PublisherEnvironment & Record<'OWLMQ_URL' | 'OWLMQ_API_KEY', string> = {
      MIGRATION: migration,
      CHAOS_LOG: join(folder, `${name}.jsonl`),
      CHAOS_TOPICS: topics.join(','),
      CHAOS_PUBLISHER: String(publisher),
      CHAOS_INCARNATION: String(incarnation),
      CHAOS_KEYS: String(keys),
      CHAOS_RATE: String(rate / links.length),
      CHAOS_SEED: String(seed),
      KAFKA_BROKERS: `127.0.0.1:${link.kafka.port}`,
      OWLMQ_URL: `http://127.0.0.1:${link.owlmq.port}`,
      OWLMQ_API_KEY: apiKey,
    };
    const reader = new EventLogReader(env.CHAOS_LOG, publishEventSchema);
    this.#logs.push({ publisher, incarnation, reader });
    const script = join(checkoutRoot, 'dist', 'chaos', 'publishers', 'fleet', 'publisher.js');
    const plan = programPlan({ id: name, script, readyLine: new RegExp(`^${READY}$`, 'm') }, env, folder);
    this.#processes[publisher] = await DisposableProcess.start(plan, {
      ...{ log, signal },
      onCrash: (what) => this.crashes.push(what),
    });
  }

  /** SIGKILL. */
  async kill(publisher: number): Promise<void> {
    await this.#processes[publisher]?.kill();
  }

  async freeze(publisher: number): Promise<void> {
    await this.#processes[publisher]?.freeze();
  }

  async thaw(publisher: number): Promise<void> {
    await this.#processes[publisher]?.thaw();
  }

  /** SIGTERM: each settles what it has and ends. */
  async stopAll(): Promise<void> {
    await Promise.all(this.#processes.map(async (process) => process?.stop()));
  }

  /** Reads what the processes wrote down since the last look. */
  async look(): Promise<void> {
    this.#looking = this.#looking.then(async () => {
      for (const { publisher, incarnation, reader } of this.#logs) {
        this.publications.take(publisher, incarnation, await reader.read());
      }
    });
    await this.#looking;
  }

  async close(): Promise<void> {
    await this.stopAll();
    for (const { reader } of this.#logs) await reader.close();
  }
}
