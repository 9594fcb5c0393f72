import { parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import { newMigrationState, type CarriedOver } from '../src/workflows/migration-state.js';
import { migrateKafkaToOwlmq } from '../src/workflows/playbook.js';
import { inWorld } from './clock/globals.js';
import { World, type Process } from './clock/world.js';
import { Checker } from './checker.js';
import { Director } from './director.js';
import { Consumer } from './fleet/consumer.js';
import { Publisher } from './fleet/publisher.js';
import { Ledger } from './ledger.js';
import { drawScenario, type Scenario } from './scenario.js';
import { PARTITIONS, TOPIC } from './systems/message.js';
import { Systems } from './systems/systems.js';
import { SimulatedTemporal } from './temporal/server.js';
import { SimulatedActivities } from './worker/activities.js';

const MIGRATION = 'migration';
export const GROUPS = ['payments', 'mails'] as const;
const FIRST_EPOCH = 7;
/** A run that has not ended by then is stuck. */
const LONGEST_MS = 400_000;
const REST_MS = 60_000;

/** How a run went. */
export interface Outcome {
  seed: number;
  violations: string[];
  end: string;
  published: number;
  acknowledged: number;
  applied: number;
  /** Of these, out of order behind a repair: no violation. */
  repairedLate: number;
  faults: number;
  simulatedMs: number;
  events: number;
}

export interface RunOptions {
  trace?: (line: string) => void;
}

/** Runs one seed to its end and judges it. Never throws for what the protocol does. */
export async function runSeed(seed: number, options: RunOptions = {}): Promise<Outcome> {
  const world = new World(seed, options.trace);
  return await inWorld(world, () => new Simulation(world, seed, drawScenario(world.random), options).run());
}

/** One run: a fleet, both systems, a worker and the workflow, and what goes wrong. */
export class Simulation {
  readonly systems: Systems;
  readonly ledger = new Ledger();
  readonly temporal: SimulatedTemporal;
  publishers: Publisher[] = [];
  consumers: Consumer[] = [];
  worker: Process | undefined;
  readonly #checker: Checker;
  readonly #director: Director;
  #started = 0;

  constructor(
    readonly world: World,
    readonly seed: number,
    readonly scenario: Scenario,
    readonly options: RunOptions,
  ) {
    const { faults, sessionMs } = scenario;
    this.systems = new Systems(world, faults, GROUPS, sessionMs);
    this.#checker = new Checker(this.systems, this.ledger, GROUPS);
    this.systems.onWritten = (state) => {
      this.#checker.written(state);
    };
    this.temporal = new SimulatedTemporal(world, migrateKafkaToOwlmq, MIGRATION, this.#arguments());
    this.temporal.continueAsNew = scenario.continueAsNew;
    this.#director = new Director(this);
  }

  async run(): Promise<Outcome> {
    const { world, temporal, ledger, scenario } = this;
    world.say(() => `scenario ${JSON.stringify(scenario)}`);
    for (const group of GROUPS) {
      this.systems
        .group('kafka', group)
        .setOffsets(Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, offset: 0 })));
    }
    for (let slot = 0; slot < scenario.publishers; slot++) this.startPublisher(slot);
    for (const [index, group] of GROUPS.entries()) {
      for (let n = 0; n < (scenario.consumers[index] ?? 1); n++) this.startConsumer(group);
    }
    this.startWorker();
    this.#director.begin();
    try {
      await world.run(world.now + LONGEST_MS, () => temporal.end !== undefined || ledger.violations.length > 0);
      this.#director.heal();
      if (temporal.end === undefined && ledger.violations.length === 0)
        ledger.violate('I10', `stuck: ${this.#where()}`);
      if (temporal.end?.how === 'failed') ledger.violate('I10', `the workflow failed: ${temporal.end.message ?? ''}`);
      await this.#rest();
    } catch (error) {
      ledger.violate('defect', error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    if (ledger.violations.length === 0) this.#checker.end();
    for (const violation of ledger.violations) world.say(() => `VIOLATION ${violation}`);
    return this.#outcome();
  }

  startPublisher(slot: number): void {
    const { systems, ledger } = this;
    const process = this.world.process(`publisher-${slot}.${++this.#started}`);
    const publisher = new Publisher({
      ...{ systems, ledger, process, migration: MIGRATION },
      keys: [`k${slot}a`, `k${slot}b`, `k${slot}c`],
      everyMs: this.scenario.publishEveryMs,
      leaves: (from, leg, message) => {
        this.#checker.leaves(from.process.name, from.epoch, leg, message);
      },
    });
    this.publishers.push(publisher);
    this.#as(process, () => {
      publisher.start();
    });
    this.world.say(() => `${process.name} starts`);
  }

  /** A publisher's callers publish at once. */
  publish(publisher: Publisher, count: number): void {
    if (publisher.process.state !== 'running') return;
    this.#as(publisher.process, () => {
      publisher.publish(count);
    });
  }

  startConsumer(group: string): void {
    const { systems, ledger } = this;
    const process = this.world.process(`${group}.${++this.#started}`);
    const consumer = new Consumer({
      ...{ systems, ledger, process, migration: MIGRATION, group, applyMs: () => this.scenario.applyMs },
      applies: (effect) => {
        this.#checker.applies(effect);
      },
    });
    this.consumers.push(consumer);
    this.#as(process, () => {
      consumer.start();
    });
    this.world.say(() => `${process.name} starts`);
  }

  startWorker(): void {
    const process = this.world.process(`worker.${++this.#started}`);
    this.worker = process;
    this.world.say(() => `${process.name} starts`);
    this.#as(process, () => {
      const activities = new SimulatedActivities(this.systems, this.ledger, process, this.#checker);
      this.temporal.startWorker({
        process,
        runActivity: (name, argument, attempt) => {
          this.#director.activityBegins(name);
          return activities.run(name, argument, attempt);
        },
      });
    });
  }

  #as(process: Process, work: () => void): void {
    const { current } = this.world;
    this.world.current = process;
    work();
    this.world.current = current;
  }

  /** Everything heals, publishers end, and consumers read to the end. */
  async #rest(): Promise<void> {
    const { world, ledger, systems } = this;
    if (ledger.violations.length > 0) return;
    await world.run(world.now + 1_000, () => ledger.violations.length > 0);
    for (const publisher of this.publishers) publisher.stopPublishing();
    const alive = this.publishers.filter(({ process }) => process.state !== 'dead');
    const isQuiet = (): boolean => alive.every(({ open }) => open === 0);
    await world.run(world.now + REST_MS, () => isQuiet() || ledger.violations.length > 0);
    if (ledger.violations.length > 0) return;
    if (!isQuiet()) ledger.violate('I10', `publishers do not come to rest: ${this.#where()}`);
    // Late bytes of the dead among them.
    if (this.scenario.faults.mayBeLate) await world.run(world.now + 7_000, () => ledger.violations.length > 0);
    const isRead = (): boolean => {
      const live = systems.routing.at(-1)?.state.live ?? 'kafka';
      const { ends } = systems.logs[live];
      return GROUPS.every((group) =>
        ends.every((end, partition) => systems.group(live, group).commits[partition] === end),
      );
    };
    await world.run(world.now + REST_MS, () => isRead() || ledger.violations.length > 0);
    if (!isRead() && ledger.violations.length === 0)
      ledger.violate('I1', `groups do not read to the end: ${this.#standings()}; ${this.#where()}`);
  }

  #standings(): string {
    const live = this.systems.routing.at(-1)?.state.live ?? 'kafka';
    const { ends } = this.systems.logs[live];
    return GROUPS.map((group) => {
      const { commits, members } = this.systems.group(live, group);
      return `${group} on ${live}: ${commits.join()} of ${ends.join()}, members ${members.map(({ clientId }) => clientId).join()}`;
    }).join('; ');
  }

  #where(): string {
    const routing = this.systems.routing.at(-1)?.state;
    const details = this.temporal.details.replaceAll('\n', ' ').slice(0, 400);
    return `epoch ${routing?.epoch ?? 0} (${routing?.reason ?? ''}); ${details}`;
  }

  #arguments(): unknown[] {
    const { leaseMs, windowMs, start } = this.scenario;
    const input = {
      topics: [TOPIC],
      groups: [...GROUPS],
      ramp: { step: 0.5, interval: 400, gates: { minCopies: 1, sustained: 100 }, onFailure: { settle: 0 } },
      soak: { duration: 1_000, minComparisons: 1, lateness: 100 },
      cutover: { window: windowMs, backOff: 500, maxAttempts: 4 },
      warm: { duration: this.scenario.warmMs },
      audit: { grace: 4_000 },
      decommission: 'automatic' as const,
      lease: leaseMs,
    };
    if (start === 'ramp') return [input];
    const plan = parseMigrationInput(input);
    const { now } = this.world;
    const from = { [TOPIC]: [0, 0] };
    const routing = {
      ratio: 1,
      primary: 'kafka',
      mirror: true,
      live: 'kafka',
      shadow: 'compare',
      shadowFrom: from,
    } as const;
    const clock = { comparedUpTo: now, matched: 10, discrepancies: 0, comparisons: 10 };
    const state: CarriedOver['state'] = {
      ...newMigrationState(new Date(now).toISOString()),
      phase: 'shadow-soak',
      epoch: FIRST_EPOCH,
      partitions: { [TOPIC]: PARTITIONS },
      routing,
      ratio: { wanted: 1, acknowledged: 1, settled: true },
      auditFrom: from,
      coverage: from,
      soak: {
        cleanMs: 2_000,
        restarts: 0,
        missing: [],
        groups: Object.fromEntries(GROUPS.map((group) => [group, clock])),
      },
      observationsFrom: [0],
    };
    this.systems.appendRouting({
      ...{ version: 1, migration: MIGRATION, epoch: FIRST_EPOCH, topics: [TOPIC], groups: [...GROUPS] },
      ...routing,
      ...{ leaseMs, writtenAt: '', reason: 'as the soak left it' },
    });
    return [plan, { plan, state } satisfies CarriedOver];
  }

  #outcome(): Outcome {
    const { ledger, world } = this;
    const calls = [...ledger.calls.values()];
    return {
      seed: this.seed,
      violations: ledger.violations,
      end: `${this.temporal.end?.how ?? 'stuck'} ${this.systems.routing.at(-1)?.state.primary ?? ''}`,
      published: calls.length,
      acknowledged: calls.filter(({ acknowledgedAt }) => acknowledgedAt !== undefined).length,
      applied: ledger.effects.length,
      repairedLate: ledger.repairedLate,
      faults: this.#director.count,
      simulatedMs: world.now - 1_000_000,
      events: world.events,
    };
  }
}
