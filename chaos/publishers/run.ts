import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AuditProcess } from './audit/audit-process.js';
import { check } from './checker/check.js';
import { readLegs } from './checker/read-legs.js';
import { Controller } from './control/controller.js';
import { FleetSteps } from './control/fleet-steps.js';
import { RouteHistory } from './control/route-history.js';
import { Breakages } from './faults/breakages.js';
import { faults, resourcesOf, type Fault, type FaultKind } from './faults/fault.js';
import { Injector } from '../faults/injector.js';
import type { Pace } from './pace.js';
import { PublisherFleet } from './fleet/publisher-fleet.js';
import { reportOf, type ChaosReport } from './report.js';
import { Rig } from '../rig/rig.js';
import type { RunBasics } from '../command.js';
import { RunLog } from '../run-log.js';

export interface ChaosOptions extends RunBasics {
  /** Until so many rollbacks are done, if that takes longer than `forMs` (default 0). */
  readonly rollbacks?: number;
  /** How many faults are injected at the most; all of them are, whatever the time. Default: for as long as it goes on. */
  readonly faults?: number;
  readonly publishers: number;
  /** Messages a second of all publishers together. */
  readonly rate: number;
  readonly audit: boolean;
  readonly pace: Pace;
}

const number = new Intl.NumberFormat('en');
const TOPICS = ['orders', 'payments'];
const PARTITIONS = 3;
const KEYS = 40;
const MIGRATION = 'chaos';
/** After the last fault every publisher must publish again within this time. */
const RECOVERY_MS = 45_000;
/** Faults of a run that should have injected more by now: it is over all the same. */
const MOST_OVERTIME_MS = 120_000;

/** Runs publishers, control and faults for a time, heals everything, proves all copies, and checks the outcome. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { folder, signal, log, publishers } = options;
  const rig = await Rig.start({ folder, clients: publishers, log, signal });
  const runLog = new RunLog(join(folder, 'run.jsonl'), options.onEvent);
  const cleanups: (() => Promise<void>)[] = [() => rig.stop()];
  try {
    return await new Run(options, rig, runLog, cleanups).run();
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
    runLog.close();
  }
}

class Run {
  readonly #history = new RouteHistory();
  readonly #problems: string[] = [];
  readonly #begunAt = performance.now();
  readonly #audit: AuditProcess | undefined;
  readonly #fleet: PublisherFleet;
  readonly #controller: Controller;
  readonly #injector: Injector<FaultKind, Fault>;
  readonly #steps: FleetSteps;

  constructor(
    private readonly options: ChaosOptions,
    private readonly rig: Rig,
    private readonly runLog: RunLog,
    private readonly cleanups: (() => Promise<void>)[],
  ) {
    const { seed, pace, folder, log, signal } = options;
    const common = { migration: MIGRATION, topics: TOPICS, seed, folder, signal };
    this.#steps = new FleetSteps({ ...common, ...rig.direct });
    this.#audit = options.audit ? new AuditProcess({ ...common, ...rig.direct, log }) : undefined;
    const { links, apiKey } = rig;
    this.#fleet = new PublisherFleet({ ...common, links, apiKey, rate: options.rate, keys: KEYS, log });
    this.#controller = new Controller({
      ...common,
      ...{ partitions: PARTITIONS, pace, log: runLog },
      ...{ steps: this.#steps, audit: this.#audit, history: this.#history },
    });
    const breakages = new Breakages({
      ...{ rig, signal, log: runLog, pace },
      ...{ fleet: this.#fleet, controller: this.#controller, audit: this.#audit },
    });
    this.#injector = new Injector({
      ...{ signal, log: runLog, resourcesOf },
      faults: faults(seed, options.publishers, pace, options.audit, options.faults),
      inject: (fault, waits) => breakages.inject(fault, waits),
    });
  }

  async run(): Promise<ChaosReport> {
    this.cleanups.push(() => this.#steps.close());
    await this.#steps.prepare(PARTITIONS);
    if (this.#audit !== undefined) {
      const audit = this.#audit;
      this.cleanups.push(() => audit.stop());
      await audit.start();
    }
    await this.#controller.begin();
    this.cleanups.push(() => this.#fleet.close());
    await this.#fleet.startAll();
    const ticker = setInterval(() => {
      this.#tick();
    }, 1_000);
    try {
      await this.#disturb();
      await this.#settle();
    } finally {
      clearInterval(ticker);
    }
    return await this.#judge();
  }

  async #disturb(): Promise<void> {
    const controlling = this.#controller.run();
    const injecting = this.#injector.run();
    const timing = this.#untilOver().then(() => {
      this.#injector.stop();
      this.#controller.stop();
    });
    // Whichever fails first ends the run; the others are ended with it.
    const all = [controlling, injecting, timing];
    try {
      await Promise.all(all);
    } finally {
      this.#injector.stop();
      this.#controller.stop();
      await Promise.allSettled(all);
    }
  }

  async #untilOver(): Promise<void> {
    const { forMs, rollbacks = 0, faults: most, signal } = this.options;
    const begun = performance.now();
    for (;;) {
      const elapsed = performance.now() - begun;
      const dealt = most === undefined || this.#injector.finished;
      const done = this.#history.rollbacks;
      if (elapsed >= forMs && dealt && done >= rollbacks) return;
      if (elapsed >= forMs + MOST_OVERTIME_MS) {
        const missed = dealt ? '' : `only ${this.#injector.injected} faults were injected, and `;
        this.#problems.push(`${missed}${done} of ${rollbacks} rollbacks were done in time`);
        return;
      }
      await delay(100, undefined, { signal });
    }
  }

  /** Everything is healed: the fleet must recover, then ends in order, and the last copies are proven. */
  async #settle(): Promise<void> {
    this.runLog.write('healed');
    await this.#recover();
    await this.#fleet.stopAll();
    await this.#fleet.look();
    this.runLog.write('publishers ended');
    try {
      await this.#controller.finish();
    } catch (error) {
      this.options.signal.throwIfAborted();
      this.#problems.push(`the last audit did not end: ${error instanceof Error ? error.message : String(error)}`);
    }
    await this.#audit?.stop();
  }

  async #recover(): Promise<void> {
    const { signal } = this.options;
    const healedAt = Number(process.hrtime.bigint()) / 1_000_000;
    const deadline = performance.now() + RECOVERY_MS;
    for (;;) {
      await this.#fleet.look();
      const { lastOkAt } = this.#fleet.publications;
      const silent = Array.from({ length: this.#fleet.size }, (_, index) => index).filter(
        (publisher) => (lastOkAt.get(publisher) ?? 0) <= healedAt,
      );
      if (silent.length === 0) return;
      if (performance.now() > deadline) {
        this.#problems.push(
          `publishers ${silent.join(', ')} published nothing for ${RECOVERY_MS} ms after all was healed`,
        );
        return;
      }
      await delay(100, undefined, { signal });
    }
  }

  async #judge(): Promise<ChaosReport> {
    const legs = await readLegs({ ...this.rig.direct, topics: TOPICS });
    const { publications, crashes } = this.#fleet;
    const { all, closed } = publications;
    const { routes, fences } = this.#history;
    const result = check({ publications: all, closed, routes, fences, ...legs });
    return reportOf({
      options: this.options,
      elapsedMs: performance.now() - this.#begunAt,
      faults: Object.fromEntries(this.#injector.counts),
      history: this.#history,
      publications: all,
      audit: this.#audit?.progress,
      result,
      problems: [...this.#problems, ...crashes],
    });
  }

  #tick(): void {
    const { publications } = this.#fleet;
    this.#fleet.look().catch((error: unknown) => {
      this.#problems.push(`outcomes could not be read: ${String(error)}`);
    });
    const { ok, failed, unknown } = publications.counts;
    this.options.onProgress(performance.now() - this.#begunAt, [
      `ok ${number.format(ok)}, failed ${number.format(failed)}, unknown ${number.format(unknown)}`,
      `${this.#injector.injected} faults`,
      `${this.#history.cutovers} cutovers, ${this.#history.rollbacks} rollbacks`,
    ]);
  }
}
