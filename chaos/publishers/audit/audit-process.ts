import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { READY } from '../../../demo/child-process.js';
import { checkoutRoot } from '../../../engines/checkout.js';
import type { Log } from '../../../engines/fetch/progress.js';
import type { GuardedProcess } from '../../../engines/process/guarded-process.js';
import { launch } from '../../../engines/run/launch.js';
import { programPlan } from '../../../engines/run/program.js';
import { auditProgressSchema, readShared, writeShared, type AuditJob, type AuditProgress } from './audit-job.js';

/** The audit did not reach what was wanted of it in time. */
export class AuditTimeoutError extends Error {
  override readonly name = 'AuditTimeoutError';
}

export interface AuditProcessOptions {
  readonly folder: string;
  readonly brokers: readonly string[];
  readonly owlmqUrl: string;
  readonly apiKey: string;
  readonly topics: readonly string[];
  readonly log: Log;
  readonly signal: AbortSignal;
}

type Assignment = Pick<AuditJob, 'direction' | 'from' | 'graceMs'>;

const POLL_MS = 20;

/** The auditor process: is told what to prove through a file, and tells how far it is through another. */
export class AuditProcess {
  readonly #options: AuditProcessOptions;
  readonly #jobFile: string;
  readonly #progressFile: string;
  #process: GuardedProcess | undefined;
  #starts = 0;
  #job: AuditJob | undefined;
  #serial = 0;
  #chain = 0;

  constructor(options: AuditProcessOptions) {
    this.#options = options;
    this.#jobFile = join(options.folder, 'audit-job.json');
    this.#progressFile = join(options.folder, 'audit-progress.json');
  }

  async start(): Promise<void> {
    const { folder, brokers, owlmqUrl, apiKey, log, signal } = this.#options;
    const script = join(checkoutRoot, 'dist', 'chaos', 'publishers', 'audit', 'auditor.js');
    const id = `auditor-${++this.#starts}`;
    const env = {
      CHAOS_JOB: this.#jobFile,
      CHAOS_PROGRESS: this.#progressFile,
      KAFKA_BROKERS: brokers.join(','),
      OWLMQ_URL: owlmqUrl,
      OWLMQ_API_KEY: apiKey,
    };
    const plan = programPlan({ id, script, readyLine: new RegExp(`^${READY}$`, 'm') }, env, folder);
    const { process } = await launch(plan, { ports: 'free', log, signal, temporary: false });
    this.#process = process;
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#process?.signal('SIGKILL');
    await this.#process?.ended;
    this.#process = undefined;
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = undefined;
  }

  /** Begins anew at given places, without a goal. */
  begin(assignment: Assignment): void {
    this.#chain++;
    this.#assign({ ...assignment });
  }

  /** What the present chain has proven; undefined before its first step. */
  get progress(): AuditProgress | undefined {
    const progress = readShared(this.#progressFile, auditProgressSchema);
    return progress?.chain === this.#chain ? progress : undefined;
  }

  /**
   * Proves exactly up to `until`, while publishers are fenced.
   * @throws AuditTimeoutError
   */
  async prove(until: Record<string, number[]>, timeoutMs: number): Promise<AuditProgress> {
    if (this.#job === undefined) throw new Error('Nothing was begun.');
    const { direction, from, graceMs } = this.#job;
    this.#assign({ direction, from, graceMs, until });
    const serial = this.#serial;
    try {
      return await this.#until('prove everything', timeoutMs, (now) => now.serial === serial && now.complete);
    } finally {
      this.#assign({ direction, from, graceMs });
    }
  }

  /**
   * Waits until the audit has passed the offsets, so that little is left for a window.
   * @throws AuditTimeoutError
   */
  async catchUp(ends: Record<string, number[]>, timeoutMs: number): Promise<void> {
    await this.#until('catch up', timeoutMs, ({ forward, mirror }) => {
      const positions = forward?.positions ?? mirror?.owlmq ?? {};
      return Object.entries(ends).every(([topic, wanted]) =>
        wanted.every((end, partition) => (positions[topic]?.[partition] ?? 0) >= end),
      );
    });
  }

  #assign(job: Assignment & Pick<AuditJob, 'until'>): void {
    this.#job = { ...job, chain: this.#chain, serial: ++this.#serial, topics: [...this.#options.topics] };
    writeShared(this.#jobFile, this.#job);
  }

  async #until(what: string, timeoutMs: number, reached: (now: AuditProgress) => boolean): Promise<AuditProgress> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const { progress } = this;
      if (progress !== undefined && reached(progress)) return progress;
      if (performance.now() > deadline) {
        const { error } = progress ?? {};
        throw new AuditTimeoutError(`The audit did not ${what} within ${timeoutMs} ms${error ? `: ${error}` : '.'}`);
      }
      await delay(POLL_MS, undefined, { signal: this.#options.signal });
    }
  }
}
