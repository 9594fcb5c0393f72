import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { DualConsumerOptions } from '../src/index.js';
import { until } from './publisher-fixture.js';

/** A message that was applied, by its value. */
export interface AppliedValue {
  value: string;
  leg: 'kafka' | 'owlmq';
  partition: number;
}

type Told = ({ type: 'applied' } & AppliedValue) | { type: 'started'; instance: string } | { type: 'stopped' };

/** A `DualConsumer` in a process of its own, whose handler takes `handleMs` a message. */
export class ConsumerProcess {
  readonly applied: AppliedValue[] = [];
  readonly #child: ChildProcess;
  #instance: string | undefined;
  #stopped = false;

  private constructor(options: object) {
    const script = fileURLToPath(new URL('./consumer-process.mjs', import.meta.url));
    this.#child = fork(script, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (told: Told) => {
      if (told.type === 'applied') this.applied.push(told);
      else if (told.type === 'started') this.#instance = told.instance;
      else this.#stopped = true;
    });
  }

  static async start(
    options: Omit<DualConsumerOptions<string>, 'process' | 'apply'> & { handleMs: number },
  ): Promise<ConsumerProcess> {
    const started = new ConsumerProcess(options);
    await until('the consumer is in its group', () => started.#instance !== undefined);
    return started;
  }

  get instance(): string {
    return this.#instance ?? '';
  }

  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  async stop(): Promise<void> {
    this.#child.send('stop');
    await until('the consumer has stopped', () => this.#stopped, 60_000);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
