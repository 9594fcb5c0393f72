import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Progress, type Log } from '../../engines/fetch/progress.js';
import { findKafka } from '../../engines/find/kafka.js';
import { findToxiproxy } from '../../engines/find/toxiproxy.js';
import { freePort } from '../../engines/run/free-port.js';
import { kafkaPlan } from '../../engines/run/kafka.js';
import { keptApiKey, owlmqPlan } from '../../engines/run/owlmq.js';
import { RestartableServer } from '../../engines/run/restartable-server.js';
import { toxiproxyPlan } from '../../engines/run/toxiproxy.js';
import { Toxiproxy, type Links } from './toxiproxy.js';

export interface RigOptions {
  /** Data and logs of the engines go there. */
  readonly folder: string;
  /** How many processes get links of their own. */
  readonly clients: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** A broker that was killed is taken for alive this long, which its restart waits for. */
const KAFKA_SESSION_MS = 2_000;

/**
 * Engines that may be killed: a Kafka, an OwlMQ, and a toxiproxy with a link for each client to each of them. A client's
 * link to Kafka leads to a listener of its own, which advertises the link: all that any Kafka client does goes over it.
 */
export class Rig {
  private constructor(
    readonly kafka: RestartableServer<'broker' | 'controller'>,
    readonly owlmq: RestartableServer<'http'>,
    private readonly proxy: RestartableServer<'api'>,
    readonly apiKey: string,
    readonly links: readonly Links[],
  ) {}

  /** @throws EngineUnavailableError, EngineStartError; nothing is left running then. */
  static async start({ folder, clients, log, signal }: RigOptions): Promise<Rig> {
    const progress = new Progress(log);
    const [kafkaProgram, toxiproxy] = [await findKafka(progress, signal), await findToxiproxy(progress, signal)];
    const listeners = await Promise.all(
      Array.from({ length: clients }, async () => ({ port: await freePort(), advertisedPort: await freePort() })),
    );
    const owlmqFolder = join(folder, 'owlmq');
    await mkdir(owlmqFolder, { recursive: true });
    const apiKey = await keptApiKey(owlmqFolder);
    const options = { log: progress.log, signal };
    const started: RestartableServer<string>[] = [];
    const start = async <P extends string>(...args: Parameters<typeof RestartableServer.start<P>>) => {
      const server = await RestartableServer.start(...args);
      started.push(server);
      return server;
    };
    try {
      const proxy = await start(toxiproxyPlan(toxiproxy, join(folder, 'toxiproxy')), options);
      const owlmq = await start(owlmqPlan(apiKey, owlmqFolder), options);
      const kafkaSettings = { listeners, sessionTimeoutMs: KAFKA_SESSION_MS };
      const kafka = await start(kafkaPlan(kafkaProgram, join(folder, 'kafka'), kafkaSettings), options);
      const api = new Toxiproxy(proxy.ports.api);
      const links: Links[] = [];
      for (const [index, { port, advertisedPort }] of listeners.entries()) {
        links.push({
          kafka: await api.link(`client-${index}-kafka`, { listen: advertisedPort, upstream: port }),
          owlmq: await api.link(`client-${index}-owlmq`, { listen: await freePort(), upstream: owlmq.ports.http }),
        });
      }
      return new Rig(kafka, owlmq, proxy, apiKey, links);
    } catch (error) {
      await Promise.all(started.map((server) => server.stop()));
      throw error;
    }
  }

  /** Straight to the legs, over no link. */
  get direct(): { brokers: string[]; owlmqUrl: string; apiKey: string } {
    return {
      brokers: [`127.0.0.1:${this.kafka.ports.broker}`],
      owlmqUrl: `http://127.0.0.1:${this.owlmq.ports.http}`,
      apiKey: this.apiKey,
    };
  }

  async stop(): Promise<void> {
    await Promise.all([this.kafka, this.owlmq, this.proxy].map((server) => server.stop()));
  }
}
