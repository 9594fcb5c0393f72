import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ClusterAdmin, OwlmqClient } from '@owlmq/kafka-bridge/operations';
import { clockMs } from '../../demo/event-log.js';
import { Progress } from '../../engines/fetch/progress.js';
import { findConsoleTools } from '../../engines/find/kafka-tools.js';
import { findTemporalCli } from '../../engines/find/temporal-cli.js';
import { RestartableServer } from '../../engines/run/restartable-server.js';
import { temporalPlan } from '../../engines/run/temporal.js';
import type { RunBasics } from '../command.js';
import { Injector } from '../faults/injector.js';
import { owlmqLog } from '../rig/owlmq-log.js';
import { Rig } from '../rig/rig.js';
import { RunLog } from '../run-log.js';
import { check, type StoredValue } from './checker/check.js';
import type { Disturbance, Move } from './checker/group.js';
import { Settling } from './checker/settling.js';
import { Breakages, canFillDisks } from './faults/breakages.js';
import { faults, resourcesOf, type Fault, type FaultKind } from './faults/fault.js';
import { linksNeeded, MigrationFleet, type MemberKind } from './fleet.js';
import { Operator, StuckError } from './operator.js';
import type { Pace } from './pace.js';
import { ENTRY_BYTES } from './services/journal.js';
import { reportOf, type MigrationChaosReport } from './report.js';

export interface MigrationChaosOptions extends RunBasics {
  /** Messages a second of all producers together. */
  readonly rate: number;
  readonly pace: Pace;
  /** How many faults are injected; all of them are, within a minute more. Default: for as long as it goes on. */
  readonly faults?: number;
}

const MIGRATION = 'migrate-orders';
const TASK_QUEUE = 'kafka-to-owlmq';
const TOPICS = ['orders', 'payments'];
const GROUPS = ['billing', 'shipping'];
const PARTITIONS = 4;
const RETENTION_MS = 7 * 24 * 3_600_000;
const PRODUCERS = 2;
const MEMBERS_PER_GROUP = 2;
const KEYS = 300;
/** Of all messages, by the producer without the library. */
const JAVA_SHARE = 0.1;
/** What a fault can still cost once it is healed: sessions that end, groups that rebalance, requests that are repeated. */
const AFTERMATH_MS = 30_000;
/** Traffic after the last migration. */
const TRAFFIC_AFTER_MS = 3_000;
/** From the end of all traffic until every group must have applied everything. */
const SETTLE_WITHIN_MS = 120_000;
/** What a migration has to come through before there is a window, or after one that was cancelled. */
const CALMED: readonly string[] = ['dual-write', 'shadow-soak', 'ready'];
/** Faults of a run that should have injected more by now: it is over all the same. */
const MOST_OVERTIME_MS = 60_000;
const number = new Intl.NumberFormat('en');

/**
 * Runs migrations under traffic and faults, one after the other, each rolled back; then, with everything healed, a last one
 * to its end. What producers and groups wrote down is then compared.
 */
export async function runMigrations(options: MigrationChaosOptions): Promise<MigrationChaosReport> {
  const { folder, log, signal } = options;
  const cleanups: (() => Promise<void> | void)[] = [];
  try {
    const progress = new Progress(log);
    const [cli, tools] = [await findTemporalCli(progress, signal), await findConsoleTools(progress, signal)];
    const size = { producers: PRODUCERS, groups: GROUPS, membersPerGroup: MEMBERS_PER_GROUP };
    const rig = await Rig.start({ folder, clients: linksNeeded(size), log, signal });
    cleanups.push(() => rig.stop());
    const temporal = await RestartableServer.start(temporalPlan(cli, join(folder, 'temporal')), { log, signal });
    cleanups.push(() => temporal.stop());
    const runLog = new RunLog(join(folder, 'run.jsonl'), options.onEvent);
    cleanups.push(() => {
      runLog.close();
    });
    const temporalAddress = `127.0.0.1:${temporal.ports.grpc}`;
    const { seed, rate, pace } = options;
    const common = { migration: MIGRATION, taskQueue: TASK_QUEUE, topics: TOPICS, groups: GROUPS, seed, signal };
    const fleet = new MigrationFleet(
      {
        ...{ ...common, ...size, tools, temporalAddress, apiKey: rig.apiKey, folder, log, keys: KEYS },
        ...{ rate: rate * (1 - JAVA_SHARE), javaRate: rate * JAVA_SHARE },
      },
      rig.links,
    );
    cleanups.push(() => fleet.close());
    const forward = TOPICS.at(-1) ?? '';
    const operator = await Operator.connect({ ...common, address: temporalAddress, forward, pace, log: runLog });
    cleanups.push(() => operator.close());
    await createTopics(rig.direct.brokers);
    return await new Run(options, { rig, temporal, runLog, fleet, operator }).run();
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}

interface Parts {
  readonly rig: Rig;
  readonly temporal: RestartableServer<'grpc' | 'ui'>;
  readonly runLog: RunLog;
  readonly fleet: MigrationFleet;
  readonly operator: Operator;
}

class Run {
  readonly #begunAt = clockMs();
  readonly #problems: string[] = [];
  readonly #disturbances: Disturbance[] = [];
  #without: FaultKind[] = [];
  #injector: Injector<FaultKind, Fault> | undefined;

  constructor(
    private readonly options: MigrationChaosOptions,
    private readonly parts: Parts,
  ) {}

  async run(): Promise<MigrationChaosReport> {
    const { fleet } = this.parts;
    const injector = await this.#newInjector();
    this.#injector = injector;
    await fleet.startAll('worker', 'consumer');
    await fleet.startAll('producer', 'java-producer');
    const ticker = setInterval(() => {
      this.#tick();
    }, 1_000);
    try {
      if (await this.#disturb(injector)) await this.#complete();
      await this.#settle();
      await fleet.close();
      return await this.#judge(injector);
    } finally {
      clearInterval(ticker);
    }
  }

  async #newInjector(): Promise<Injector<FaultKind, Fault>> {
    const { seed, pace, folder, signal, faults: most } = this.options;
    const { rig, temporal, fleet, runLog } = this.parts;
    if (!(await canFillDisks())) this.#without = ['owlmq-disk-full'];
    const breakages = new Breakages({ rig, temporal, fleet, folder, log: runLog });
    const names = (kind: MemberKind) => fleet.of(kind).map(({ name }) => name);
    const members = {
      ...{ producer: names('producer'), 'java-producer': names('java-producer') },
      ...{ consumer: names('consumer'), worker: names('worker') },
    };
    return new Injector({
      ...{ log: runLog, signal, resourcesOf, calm: () => this.#isCalm() },
      faults: faults({ seed, pace, members, without: this.#without, most }),
      inject: async (fault, waits) => {
        const from = clockMs();
        try {
          await breakages.inject(fault, waits);
        } finally {
          this.#disturbances.push(...this.#reach(fault, from));
        }
      },
    });
  }

  #isCalm(): boolean {
    const { phase } = this.parts.operator;
    if (phase === undefined || !CALMED.includes(phase.name)) return false;
    const [from, until] = this.options.pace.calmMs;
    const age = clockMs() - phase.since;
    return age > from && age < until;
  }

  /** Whose messages can come again by a fault. */
  #reach({ kind, member: name }: Fault, from: number): Disturbance[] {
    const time = { from, to: clockMs() + AFTERMATH_MS };
    if (kind.endsWith('-kafka') || kind.startsWith('restart-owlmq') || kind === 'freeze-owlmq') return [time];
    if (kind === 'owlmq-disk-full') return [time];
    const member = this.parts.fleet.members.find((one) => one.name === name);
    if (kind === 'restart-temporal' || member === undefined || member.kind === 'worker') return [];
    if (member.group !== undefined) return [{ ...time, group: member.group }];
    return [{ ...time, ...(member.producer === undefined ? {} : { producer: member.producer }) }];
  }

  /** Migrations and faults until the time is over; whether they all came to an end. */
  async #disturb(injector: Injector<FaultKind, Fault>): Promise<boolean> {
    const { operator } = this.parts;
    const { signal } = this.options;
    const over = new AbortController();
    const stop = (): void => {
      over.abort();
      injector.stop();
      operator.stop();
    };
    const timing = this.#untilOver(injector, AbortSignal.any([signal, over.signal]))
      .catch(() => undefined)
      .then(stop);
    // Whichever fails first ends the others.
    const failed = (error: unknown): void => {
      stop();
      this.#problems.push(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
    };
    await Promise.all([timing, operator.run().catch(failed), injector.run().catch(failed)]);
    signal.throwIfAborted();
    return this.#problems.length === 0;
  }

  async #untilOver(injector: Injector<FaultKind, Fault>, signal: AbortSignal): Promise<void> {
    const { forMs, faults: wanted } = this.options;
    const begun = clockMs();
    const isOver = (): boolean => {
      const elapsed = clockMs() - begun;
      return elapsed >= forMs && (wanted === undefined || injector.finished || elapsed >= forMs + MOST_OVERTIME_MS);
    };
    while (!isOver()) await delay(100, undefined, { signal });
  }

  /** With everything healed: a migration to its end. */
  async #complete(): Promise<void> {
    const { operator, fleet, runLog } = this.parts;
    runLog.write('healed');
    let stopped = false;
    try {
      await operator.complete(async () => {
        if (!stopped) await fleet.stopAll('java-producer');
        stopped = true;
      });
      const last = operator.migrations.at(-1);
      if (last?.outcome !== 'completed') {
        this.#problems.push(`the last migration ended as ${last?.outcome}: ${last?.failure ?? ''}`);
      }
    } catch (error) {
      if (!(error instanceof StuckError)) throw error;
      this.#problems.push(error.message);
    }
    await delay(TRAFFIC_AFTER_MS, undefined, { signal: this.options.signal });
  }

  /** Traffic ends, and every group applies what is left. */
  async #settle(): Promise<void> {
    const { fleet, runLog } = this.parts;
    await fleet.stopAll('producer', 'java-producer');
    runLog.write('producers ended');
    const settling = await Settling.begin(this.#evidence());
    const deadline = clockMs() + SETTLE_WITHIN_MS;
    while (settling.missing() > 0 && clockMs() < deadline) {
      await delay(500, undefined, { signal: this.options.signal });
    }
    // What is applied again would be so by now.
    await delay(2_000, undefined, { signal: this.options.signal });
    runLog.write('settled', { missing: settling.missing() });
    settling.close();
  }

  async *#stored(): AsyncGenerator<StoredValue> {
    const { owlmqUrl: url, apiKey } = this.parts.rig.direct;
    const owlmq = new OwlmqClient({ url, apiKey });
    try {
      for (const topic of TOPICS) {
        for (let partition = 0; partition < PARTITIONS; partition++) {
          for await (const { offset, value } of owlmqLog(owlmq, topic, partition)) {
            yield { value: value?.toString() ?? '', topic, partition, offset };
          }
        }
      }
    } finally {
      await owlmq.close();
    }
  }

  #evidence() {
    const { fleet } = this.parts;
    const files = (members: readonly { evidence: readonly string[] }[]) => members.flatMap(({ evidence }) => evidence);
    const { seed } = this.options;
    return {
      rules: { seed, topics: TOPICS, keys: KEYS, foreign: PRODUCERS },
      begunAt: this.#begunAt,
      producers: files(fleet.of('producer')),
      java: files(fleet.of('java-producer')),
      groups: Object.fromEntries(
        GROUPS.map((group) => [group, files(fleet.of('consumer').filter((member) => member.group === group))]),
      ),
      stored: this.#stored(),
      disturbances: this.#disturbances,
      moves: this.#moves(),
    };
  }

  #moves(): Move[] {
    return this.parts.operator.migrations.flatMap(({ journaledAt, rollbackAskedAt, reported }): Move[] => {
      if (journaledAt === undefined) return [];
      const there = { to: 'owlmq' as const, at: journaledAt, redeliveries: reported.cutover };
      if (rollbackAskedAt === undefined) return [there];
      return [there, { to: 'kafka' as const, at: rollbackAskedAt, redeliveries: reported.rollback }];
    });
  }

  async #judge(injector: Injector<FaultKind, Fault>): Promise<MigrationChaosReport> {
    const { operator, fleet } = this.parts;
    const { seed, rate } = this.options;
    return reportOf({
      ...{ seed, rate, elapsedMs: clockMs() - this.#begunAt, without: this.#without },
      faults: Object.fromEntries(injector.counts),
      migrations: operator.migrations,
      workerEnds: fleet.workerEnds,
      result: await check(this.#evidence()),
      problems: [...this.#problems, ...fleet.crashes],
    });
  }

  #tick(): void {
    const { fleet, operator } = this.parts;
    const { migrations } = operator;
    // Of the producers with the library two entries a message.
    const published = fleet.bytesWritten('producer') / ENTRY_BYTES / 2;
    const applied = fleet.bytesWritten('consumer') / ENTRY_BYTES;
    this.options.onProgress(clockMs() - this.#begunAt, [
      `published about ${number.format(Math.round(published))}, applied ${number.format(applied)}`,
      `${this.#injector?.injected ?? 0} faults`,
      `${migrations.length} migrations, ${migrations.filter(({ journaledAt }) => journaledAt !== undefined).length} cutovers`,
    ]);
  }
}

async function createTopics(brokers: string[]): Promise<void> {
  const admin = new ClusterAdmin({ brokers }, { clientId: 'chaos' });
  try {
    for (const topic of TOPICS) {
      await admin.createTopic(topic, { partitions: PARTITIONS, configs: { 'retention.ms': String(RETENTION_MS) } });
    }
  } finally {
    await admin.close();
  }
}
