import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { DualPublisherOptions, PublisherStatus } from '../src/index.js';
import { until } from './publisher-fixture.js';

/** What became of a call in the process. */
interface Outcome {
  n: number;
  epoch?: number;
  error?: string;
  reason?: string;
}

type Told =
  | ({ type: 'outcome' } & Outcome)
  | ({ type: 'status' } & PublisherStatus)
  | { type: 'connected'; instance: string }
  | { type: 'closed'; sent: number }
  | { type: 'routing' };

/** A `DualPublisher` that publishes steadily in a process of its own. */
export class PublisherProcess {
  readonly outcomes: Outcome[] = [];
  readonly #child: ChildProcess;
  #instance: string | undefined;
  #sent: number | undefined;

  private constructor(options: object) {
    const script = fileURLToPath(new URL('./publisher-process.mjs', import.meta.url));
    this.#child = fork(script, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (told: Told) => {
      if (told.type === 'outcome') this.outcomes.push(told);
      else if (told.type === 'connected') this.#instance = told.instance;
      else if (told.type === 'closed') this.#sent = told.sent;
    });
  }

  static async start(
    options: Pick<DualPublisherOptions, 'kafka' | 'owlmq' | 'migration'> & { topic: string; everyMs: number },
  ): Promise<PublisherProcess> {
    const started = new PublisherProcess(options);
    await until('the publisher is connected', () => started.#instance !== undefined);
    return started;
  }

  get instance(): string {
    return this.#instance ?? '';
  }

  get acknowledged(): number {
    return this.outcomes.filter(({ error }) => error === undefined).length;
  }

  /** A status asked for after the call, once the process is able to answer. */
  async status(): Promise<PublisherStatus> {
    let status: PublisherStatus | undefined;
    const take = (told: Told): void => {
      if (told.type === 'status') status = told;
    };
    this.#child.on('message', take);
    this.#child.send('status');
    await until('the publisher answers', () => status !== undefined, 60_000);
    this.#child.off('message', take);
    return status as unknown as PublisherStatus;
  }

  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  /** Closes the publisher in good order; returns how many calls it had made. */
  async close(): Promise<number> {
    this.#child.send('close');
    await until('the publisher has closed', () => this.#sent !== undefined, 60_000);
    return this.#sent ?? 0;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
