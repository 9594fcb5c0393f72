import type { Log } from '../../engines/fetch/progress.js';
import type { GuardedProcess } from '../../engines/process/guarded-process.js';
import { launch } from '../../engines/run/launch.js';
import type { ServerPlan } from '../../engines/run/server-plan.js';

export interface DisposableOptions {
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Told of an end that nobody wanted, in words. */
  readonly onCrash: (what: string) => void;
}

/** One start of a program without ports, which may be killed or frozen at any moment. */
export class DisposableProcess {
  #endWanted = false;

  /** Somebody has killed or stopped it. */
  get endWanted(): boolean {
    return this.#endWanted;
  }

  private constructor(private readonly process: GuardedProcess) {}

  /** Resolves once it works. @throws EngineStartError */
  static async start(plan: ServerPlan<never>, { log, signal, onCrash }: DisposableOptions): Promise<DisposableProcess> {
    const { process } = await launch(plan, { ports: 'free', log, signal, temporary: false });
    const started = new DisposableProcess(process);
    process.ended.then(
      (how) => {
        if (!started.endWanted) onCrash(`${plan.id} ended by itself: ${JSON.stringify(how)}`);
      },
      (error: unknown) => {
        onCrash(`${plan.id} could not run: ${String(error)}`);
      },
    );
    return started;
  }

  /** SIGKILL; resolves once it is gone. */
  async kill(): Promise<void> {
    this.#endWanted = true;
    await this.process.signal('SIGKILL');
    await this.process.ended;
  }

  async freeze(): Promise<void> {
    await this.process.signal('SIGSTOP');
  }

  async thaw(): Promise<void> {
    await this.process.signal('SIGCONT');
  }

  /** SIGTERM, so that it settles what it has. */
  async stop(): Promise<void> {
    this.#endWanted = true;
    await this.process.stop();
  }
}
