import { setTimeout as delay } from 'node:timers/promises';
import {
  ClusterAdmin,
  LogReader,
  MemberRoster,
  OwlmqClient,
  RoutingWriter,
  type RoutingState,
  type TopicOffsets,
} from '@owlmq/kafka-bridge/operations';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { fleetActivities } from '../../../src/activities/fleet.js';
import type { PublisherFleet } from '../../../src/activities/migration-activities.js';
import { routingActivities } from '../../../src/activities/routing.js';

export interface FleetStepsOptions {
  readonly migration: string;
  readonly topics: readonly string[];
  readonly brokers: string[];
  readonly owlmqUrl: string;
  readonly apiKey: string;
}

/** The migration's own steps on routing and fleet, outside of a workflow: the same code as the worker runs. */
export class FleetSteps {
  readonly #options: FleetStepsOptions;
  readonly #writer: RoutingWriter;
  readonly #roster: MemberRoster;
  readonly #admin: ClusterAdmin;
  readonly #reader: LogReader;
  readonly #owlmq: OwlmqClient;
  readonly #fleet: ReturnType<typeof fleetActivities>;
  readonly #routing: ReturnType<typeof routingActivities>;

  constructor(options: FleetStepsOptions) {
    const connection = { brokers: options.brokers };
    const clientId = 'chaos-control';
    this.#options = options;
    this.#writer = new RoutingWriter({ connection, clientId });
    this.#roster = new MemberRoster({ connection, clientId });
    this.#admin = new ClusterAdmin(connection, { clientId });
    this.#reader = new LogReader(connection, { clientId });
    this.#owlmq = new OwlmqClient({ url: options.owlmqUrl, apiKey: options.apiKey });
    const dependencies = {
      kafka: connection,
      admin: this.#admin,
      reader: this.#reader,
      routing: this.#writer,
      roster: this.#roster,
      owlmq: this.#owlmq,
      temporal: () => Promise.resolve({ namespace: 'none', searchAttributes: [], retentionMs: undefined }),
    };
    this.#fleet = fleetActivities(dependencies);
    this.#routing = routingActivities(dependencies);
  }

  /** Makes all topics on both legs, and follows the members. */
  async prepare(partitions: number): Promise<void> {
    const { topics } = this.#options;
    for (const topic of topics) await this.#admin.createTopic(topic, { partitions });
    await this.#routing.prepareTopics({ topics: Object.fromEntries(topics.map((topic) => [topic, partitions])) });
    await this.#roster.start();
  }

  async write(state: RoutingState, timeoutMs: number): Promise<void> {
    await within(timeoutMs, () => this.#routing.applyRouting(state));
  }

  /** @throws when they do not follow in time, with who and what is waited for. */
  async awaitPublishers(epoch: number, fenced: boolean, timeoutMs: number): Promise<PublisherFleet> {
    const { migration } = this.#options;
    return await within(timeoutMs, () => this.#fleet.awaitPublishers({ migration, epoch, fenced }));
  }

  async ends(leg: 'kafka' | 'owlmq', timeoutMs: number): Promise<TopicOffsets> {
    return await within(timeoutMs, () => this.#routing.legEnds({ leg, topics: [...this.#options.topics] }));
  }

  async close(): Promise<void> {
    await this.#roster.stop();
    await Promise.all([this.#writer.close(), this.#admin.close(), this.#reader.close(), this.#owlmq.close()]);
  }
}

/** A step did not end by itself in time. */
class StepTimeoutError extends Error {
  override readonly name = 'StepTimeoutError';
}

/** Steps that watch their attempt's end give up this long before it. */
const MARGIN_MS = 3_000;
const quiet = new DefaultLogger('ERROR');

async function within<T>(timeoutMs: number, activity: () => Promise<T>): Promise<T> {
  const attemptMs = timeoutMs + MARGIN_MS;
  const environment = new MockActivityEnvironment({ startToCloseTimeoutMs: attemptMs }, { logger: quiet });
  const timer = new AbortController();
  try {
    return await Promise.race([
      environment.run<[], T, () => Promise<T>>(activity),
      delay(attemptMs, undefined, { signal: timer.signal }).then(() => {
        environment.cancel('TIMED_OUT');
        throw new StepTimeoutError(`A step took longer than ${attemptMs} ms.`);
      }),
    ]);
  } finally {
    timer.abort();
  }
}
