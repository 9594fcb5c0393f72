import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Progress } from '../../../engines/fetch/progress.js';
import { findKafka } from '../../../engines/find/kafka.js';
import { kafkaPlan, type KafkaSettings } from '../../../engines/run/kafka.js';
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

  static async start(settings: KafkaSettings = {}): Promise<PrivateBroker> {
    const folder = await mkdtemp(join(tmpdir(), 'private-broker-'));
    const program = await findKafka(new Progress(undefined));
    // An orderly shutdown is not what is tested: it is given little time, then killed.
    const plan = { ...kafkaPlan(program, join(folder, 'kafka'), settings), graceMs: 1_000, readyWithinMs: 180_000 };
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
    // Ports that were in use a moment ago are not chosen again: they are given, whatever was chosen.
    const plan: ServerPlan<Ports> = {
      ...this.plan,
      command: (_, signal) => this.plan.command(this.ports, signal),
      probe: () => this.plan.probe(this.ports),
    };
    this.#running = await launch(plan, { ports: 'free', log: () => undefined, signal: undefined, temporary: true });
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
