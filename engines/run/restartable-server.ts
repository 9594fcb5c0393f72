import type { Log } from '../fetch/progress.js';
import { launch, type Launched } from './launch.js';
import type { ServerPlan } from './server-plan.js';

export interface RestartOptions {
  readonly log: Log;
  readonly signal: AbortSignal | undefined;
}

/** A server that can be frozen, killed, and started again on the same data and the same ports: for tests of faults. */
export class RestartableServer<P extends string> {
  private constructor(
    private readonly plan: ServerPlan<P>,
    private readonly options: RestartOptions,
    private launched: Launched<P>,
  ) {}

  /** @throws EngineStartError */
  static async start<P extends string>(plan: ServerPlan<P>, options: RestartOptions): Promise<RestartableServer<P>> {
    const launched = await launch(plan, { ...options, ports: 'free', temporary: false });
    return new RestartableServer(plan, options, launched);
  }

  get ports(): Readonly<Record<P, number>> {
    return this.launched.ports;
  }

  /** Of the process that runs now. */
  get pid(): number {
    return this.launched.process.id.pid;
  }

  /** Settles once the process that runs now has ended, however. */
  get ended(): Promise<unknown> {
    return this.launched.process.ended;
  }

  async freeze(): Promise<void> {
    await this.launched.process.signal('SIGSTOP');
  }

  async thaw(): Promise<void> {
    await this.launched.process.signal('SIGCONT');
  }

  /** SIGKILL; resolves once the process is gone. */
  async kill(): Promise<void> {
    await this.launched.process.signal('SIGKILL');
    await this.launched.process.ended;
  }

  /**
   * Starts it again after a kill, and waits until it answers.
   * @throws EngineStartError, also when another program has taken one of its ports
   */
  async startAgain(): Promise<void> {
    const plan = { ...this.plan, preferredPorts: this.ports };
    this.launched = await launch(plan, { ...this.options, ports: 'exact', temporary: false });
  }

  async stop(): Promise<void> {
    await this.launched.process.stop();
  }
}
