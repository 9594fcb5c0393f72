import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterAdmin, LogReader, MemberRoster, OwlmqClient, RoutingWriter } from '@owlmq/kafka-bridge/operations';
import { Progress, type Log } from '../engines/fetch/progress.js';
import { findKafka } from '../engines/find/kafka.js';
import { kafkaPlan } from '../engines/run/kafka.js';
import { keptApiKey, owlmqPlan } from '../engines/run/owlmq.js';
import { RestartableServer } from '../engines/run/restartable-server.js';

/** A broker that was killed is taken for alive this long, which its restart waits for. */
const KAFKA_SESSION_MS = 1_000;
const CLIENT = { clientId: 'boundaries' };

/** A Kafka and an OwlMQ that may be killed, for one run after the other, and what looks at them. */
export class Lane {
  private constructor(
    readonly kafka: RestartableServer<'broker' | 'controller'>,
    readonly owlmq: RestartableServer<'http'>,
    private readonly apiKey: string,
    readonly admin: ClusterAdmin,
    readonly reader: LogReader,
    /** Runs for as long as the lane does, so that it knows how long a member has been silent. */
    readonly roster: MemberRoster,
    readonly owlmqClient: OwlmqClient,
  ) {}

  /** @throws EngineUnavailableError, EngineStartError */
  static async start(folder: string, log: Log, signal: AbortSignal): Promise<Lane> {
    const program = await findKafka(new Progress(log), signal);
    const owlmqFolder = join(folder, 'owlmq');
    await mkdir(owlmqFolder, { recursive: true });
    const apiKey = await keptApiKey(owlmqFolder);
    const settings = { sessionTimeoutMs: KAFKA_SESSION_MS };
    const kafka = await RestartableServer.start(kafkaPlan(program, join(folder, 'kafka'), settings), { log, signal });
    try {
      const owlmq = await RestartableServer.start(owlmqPlan(apiKey, owlmqFolder), { log, signal });
      const connection = { brokers: [`127.0.0.1:${kafka.ports.broker}`] };
      // The roster has a topic to follow from the beginning.
      const routing = new RoutingWriter({ connection, ...CLIENT });
      await routing.ensureTopics();
      await routing.close();
      const roster = new MemberRoster({ connection, ...CLIENT, onError: () => undefined });
      await roster.start();
      return new Lane(
        kafka,
        owlmq,
        apiKey,
        new ClusterAdmin(connection, CLIENT),
        new LogReader(connection, CLIENT),
        roster,
        new OwlmqClient({ url: `http://127.0.0.1:${owlmq.ports.http}`, apiKey }),
      );
    } catch (error) {
      await kafka.stop();
      throw error;
    }
  }

  get env(): Record<string, string> {
    const { broker } = this.kafka.ports;
    return {
      KAFKA_BROKERS: `127.0.0.1:${broker}`,
      OWLMQ_URL: `http://127.0.0.1:${this.owlmq.ports.http}`,
      OWLMQ_API_KEY: this.apiKey,
    };
  }

  async stop(): Promise<void> {
    await this.roster.stop();
    await Promise.all([this.admin.close(), this.reader.close(), this.owlmqClient.close()]);
    await Promise.all([this.kafka.stop(), this.owlmq.stop()]);
  }
}
