import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Progress } from '../../../engines/fetch/progress.js';
import { findKafka } from '../../../engines/find/kafka.js';
import { kafkaPlan } from '../../../engines/run/kafka.js';
import { launch, type Launched } from '../../../engines/run/launch.js';
import type { ServerPlan } from '../../../engines/run/server-plan.js';

type Ports = 'broker' | 'controller';

/** A broker that a test may stop, start again on its data and its ports, and delete topics of. */
export class PrivateBroker {
  #running: Launched<Ports> | undefined;

  private constructor(
    private readonly folder: string,
    private readonly plan: ServerPlan<Ports>,
    readonly ports: Readonly<Record<Ports, number>>,
  ) {}

  static async start(): Promise<PrivateBroker> {
    const folder = await mkdtemp(join(tmpdir(), 'private-broker-'));
    const plan = kafkaPlan(await findKafka(new Progress(undefined)), join(folder, 'kafka'));
    const running = await launch(plan, { ports: 'free', log: () => undefined, signal: undefined, temporary: true });
    const broker = new PrivateBroker(folder, plan, running.ports);
    broker.#running = running;
    return broker;
  }

  get brokers(): string[] {
    return [`127.0.0.1:${this.ports.broker}`];
  }

  async stop(): Promise<void> {
    await this.#running?.process.stop();
    this.#running = undefined;
  }

  /** Resolves once it answers again. */
  async startAgain(): Promise<void> {
    const plan = { ...this.plan, preferredPorts: this.ports };
    const running = await launch(plan, {
      ports: 'preferred',
      log: () => undefined,
      signal: undefined,
      temporary: true,
    });
    this.#running = running;
    if (running.ports.broker !== this.ports.broker) throw new Error('The port of the broker was taken meanwhile.');
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
