import type { Process } from './clock/world.js';
import type { LinkFaults } from './fleet/routing-link.js';
import { GROUPS, type Simulation } from './run.js';

/** Activities at whose begin something may go wrong: every one that the playbook has from the ramp's end on. */
const STEPS = [
  'applyRouting',
  'awaitPublishers',
  'legEnds',
  'awaitDrained',
  'awaitConsumers',
  'auditToOwlmq',
  'auditToKafka',
  'moveOffsets',
  'restoreKafkaOffsets',
  'proveLeg',
  'checkReadiness',
  'watchWarm',
] as const;

interface Planned {
  /** The step at whose nth begin it comes; undefined: at a time. */
  step: string | undefined;
  nth: number;
  delayMs: number;
  act: () => void;
}

/** Draws from the seed what goes wrong, and when, and what people ask for; and ends it all. */
export class Director {
  count = 0;
  readonly #simulation: Simulation;
  readonly #planned: Planned[] = [];
  readonly #begun = new Map<string, number>();
  #healed = false;
  /** What waits for the next routing state to be written. */
  readonly #beforeRouting: (() => void)[] = [];
  /** Publishers that come later have keys of their own. */
  #slots = 2;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
    const { random } = simulation.world;
    const faults = random.chance(0.1) ? 0 : random.between(1, 5);
    for (let n = 0; n < faults; n++) this.#plan(this.#fault());
    if (random.chance(0.1)) this.#planAt('checkReadiness', 3, 50, this.#storm(random.between(0, 600), 0));
    // As the fence is written: what is published now lies before it.
    if (random.chance(0.1)) this.#planAt('applyRouting', 2, 3, this.#storm(0, random.between(2, 6)));
    if (random.chance(0.1)) this.#planAt('applyRouting', 4, 5, this.#cutOff());
    if (random.chance(0.55)) {
      const rollBack = (): void => {
        this.#say('rollback is asked for');
        simulation.temporal.signal('rollback', { reason: 'simulated', by: 'simulation' });
      };
      // Often as a routing state is on its way: whether it was written is not known then.
      if (random.chance(0.4)) this.#planAt('applyRouting', 5, 60, rollBack);
      else this.#plan(rollBack);
    }
    if (random.chance(0.1)) {
      this.#plan(() => {
        this.#say('pause');
        simulation.temporal.signal('pause', { reason: 'simulated', by: 'simulation' });
      });
    }
    if (random.chance(0.04)) {
      this.#plan(() => {
        this.#say('the workflow is cancelled');
        simulation.temporal.cancel();
      });
    }
  }

  begin(): void {
    const { world } = this.#simulation;
    for (const { step, delayMs, act } of this.#planned) {
      if (step === undefined)
        world.later(undefined, delayMs, () => {
          this.#act(act);
        });
    }
    world.later(undefined, 40_000, () => {
      this.heal();
    });
    this.#operate();
  }

  /** A step of the workflow begins. */
  activityBegins(name: string): void {
    const begun = (this.#begun.get(name) ?? 0) + 1;
    this.#begun.set(name, begun);
    if (name === 'applyRouting') for (const act of this.#beforeRouting.splice(0)) this.#act(act);
    for (const planned of this.#planned) {
      if (planned.step !== name || planned.nth !== begun) continue;
      this.#simulation.world.later(undefined, planned.delayMs, () => {
        this.#act(planned.act);
      });
    }
  }

  /** From here on nothing goes wrong any more. */
  heal(): void {
    if (this.#healed) return;
    this.#healed = true;
    const { systems, world, publishers, consumers, worker, scenario } = this.#simulation;
    world.say(() => 'all heals');
    scenario.applyMs = Math.min(scenario.applyMs, 20);
    for (const service of [systems.kafka, systems.owlmq]) {
      service.up = true;
      service.cut.clear();
    }
    systems.network.faults.loss = 0;
    systems.network.faults.late = 0;
    for (const { process, link } of [...publishers, ...consumers]) {
      Object.assign(link.faults, { muted: false, deaf: false });
      world.thaw(process);
    }
    if (worker !== undefined) world.thaw(worker);
    if (worker?.state !== 'running') this.#simulation.startWorker();
    for (const group of GROUPS) {
      if (!consumers.some((one) => one.group === group && one.process.state === 'running'))
        this.#simulation.startConsumer(group);
    }
    if (!publishers.some(({ process }) => process.state === 'running')) this.#startPublisher(0);
  }

  /** Somebody who looks now and then, ends pauses and lets blocked steps try again. */
  #operate(): void {
    const { world, temporal } = this.#simulation;
    world.later(undefined, 5_000, () => {
      if (temporal.end !== undefined) return;
      temporal.signal('resume', { by: 'simulation' });
      this.#operate();
    });
  }

  #act(act: () => void): void {
    const { temporal } = this.#simulation;
    if (this.#healed || temporal.end !== undefined) return;
    this.count++;
    act();
  }

  #plan(act: () => void): void {
    const { random } = this.#simulation.world;
    if (random.chance(0.3)) {
      this.#planned.push({ step: undefined, nth: 0, delayMs: random.between(0, 14_000), act });
      return;
    }
    const step = STEPS[random.between(0, STEPS.length - 1)];
    this.#planned.push({
      step,
      nth: random.between(1, 3),
      delayMs: random.chance(0.5) ? random.between(0, 30) : random.between(0, 1_500),
      act,
    });
  }

  /** At one of the first begins of a step. */
  #planAt(step: Planned['step'], nthAtMost: number, delayMs: number, act: () => void): void {
    const { random } = this.#simulation.world;
    this.#planned.push({ step, nth: random.between(1, nthAtMost), delayMs: random.between(0, delayMs), act });
  }

  #fault(): () => void {
    const { random } = this.#simulation.world;
    const faults = [
      () => this.#kill('publishers'),
      () => this.#kill('consumers'),
      () => this.#freeze('publishers'),
      () => this.#freeze('consumers'),
      () => this.#lose(),
      () => this.#stall(),
      () => this.#down('kafka'),
      () => this.#down('owlmq'),
      () => this.#cut(),
      () => this.#break('muted'),
      () => this.#break('deaf'),
      () => this.#more(),
      () => this.#estrange(),
      () => this.#cutOff(),
    ] as const;
    return faults[random.between(0, faults.length - 1)]?.() ?? (() => undefined);
  }

  #say(what: string): void {
    this.#simulation.world.say(() => `*** ${what}`);
  }

  #later(ms: number, act: () => void): void {
    const { world, temporal } = this.#simulation;
    world.later(undefined, ms, () => {
      if (!this.#healed || temporal.end === undefined) act();
    });
  }

  /** Milliseconds: mostly short of a lease, at times far beyond. */
  #while(): number {
    const { random } = this.#simulation.world;
    return random.chance(0.5) ? random.between(50, 1_500) : random.between(1_500, 8_000);
  }

  #member<K extends 'publishers' | 'consumers'>(kind: K): Simulation[K][number] | undefined {
    const { world } = this.#simulation;
    const all: readonly Simulation[K][number][] = this.#simulation[kind];
    const alive = all.filter(({ process }) => process.state === 'running');
    return alive[world.random.between(0, alive.length - 1)];
  }

  #kill(kind: 'publishers' | 'consumers'): () => void {
    const backMs = this.#while();
    return () => {
      const member = this.#member(kind);
      if (member === undefined) return;
      if (!('group' in member)) {
        this.#killNow(member.process, backMs);
        return;
      }
      this.#say(`${member.process.name} is killed`);
      this.#simulation.world.kill(member.process);
      this.#later(backMs, () => {
        this.#simulation.startConsumer(member.group);
      });
    };
  }

  /** Kills a publisher; another one with its keys comes later. */
  #killNow(publisher: Process, backMs: number): void {
    if (publisher.state === 'dead') return;
    this.#say(`${publisher.name} is killed`);
    this.#simulation.world.kill(publisher);
    this.#later(backMs, () => {
      this.#startPublisher(Number(/-(\d+)\./.exec(publisher.name)?.[1] ?? 0));
    });
  }

  /** Unless there is one with these keys: the calls of two of them have no order. */
  #startPublisher(slot: number): void {
    const { publishers } = this.#simulation;
    const isThere = publishers.some(
      ({ process }) => process.state !== 'dead' && process.name.startsWith(`publisher-${slot}.`),
    );
    if (!isThere) this.#simulation.startPublisher(slot);
  }

  /**
   * A publisher does not reach OwlMQ, and publishes; a group loses all its members; then the publisher dies with its
   * copies.
   */
  #storm(groupMs: number, publishes: number): () => void {
    const { random } = this.#simulation.world;
    const group = GROUPS[random.between(0, GROUPS.length - 1)] ?? GROUPS[0];
    const [publisherMs, backMs] = [random.between(300, 1_200), this.#while()];
    const consumersBackMs = random.between(2_000, 12_000);
    return () => {
      const { world, consumers, systems } = this.#simulation;
      const publisher = this.#member('publishers');
      if (publisher === undefined) return;
      const { process } = publisher;
      this.#say(`${process.name} does not reach owlmq, and dies in ${publisherMs} ms`);
      systems.owlmq.cut.add(process);
      this.#later(publisherMs, () => {
        this.#killNow(process, backMs);
      });
      const killGroup = (): void => {
        this.#say(`all members of ${group} are killed`);
        for (const one of consumers) if (one.group === group) world.kill(one.process);
      };
      if (groupMs === 0) killGroup();
      else this.#later(groupMs, killGroup);
      this.#simulation.publish(publisher, publishes);
      this.#later(groupMs + consumersBackMs, () => {
        this.#simulation.startConsumer(group);
      });
    };
  }

  #freeze(kind: 'publishers' | 'consumers'): () => void {
    const ms = this.#while();
    return () => {
      const process = this.#member(kind)?.process;
      if (process !== undefined) this.#stop(process, ms);
    };
  }

  #stop(process: Process, ms: number): void {
    const { world } = this.#simulation;
    this.#say(`${process.name} is frozen for ${ms} ms`);
    world.freeze(process);
    this.#later(ms, () => {
      if (process.state === 'frozen') this.#say(`${process.name} goes on`);
      world.thaw(process);
    });
  }

  /** The worker is killed; another one comes. */
  #lose(): () => void {
    const backMs = this.#while();
    return () => {
      const { worker, world, temporal } = this.#simulation;
      if (worker === undefined || worker.state === 'dead') return;
      this.#say(`${worker.name} is killed`);
      world.kill(worker);
      temporal.loseWorker();
      this.#later(backMs, () => {
        if (this.#simulation.worker === worker) this.#simulation.startWorker();
      });
    };
  }

  /** The worker is frozen; past a while another one has its work, and it goes on all the same. */
  #stall(): () => void {
    const { random } = this.#simulation.world;
    const ms = this.#while();
    const replaced = random.chance(0.5) ? random.between(200, 3_000) : undefined;
    return () => {
      const { worker, temporal } = this.#simulation;
      if (worker === undefined || worker.state !== 'running') return;
      this.#stop(worker, ms);
      if (replaced === undefined) return;
      this.#later(replaced, () => {
        if (worker.state !== 'frozen' || this.#simulation.worker !== worker) return;
        temporal.loseWorker();
        this.#simulation.startWorker();
      });
    };
  }

  #down(name: 'kafka' | 'owlmq'): () => void {
    const { random } = this.#simulation.world;
    const ms = random.chance(0.2) ? random.between(8_000, 20_000) : this.#while();
    return () => {
      const service = this.#simulation.systems.service(name);
      if (!service.up) return;
      this.#say(`${name} is down for ${ms} ms`);
      service.up = false;
      this.#later(ms, () => {
        this.#say(`${name} is back`);
        service.up = true;
      });
    };
  }

  #cut(): () => void {
    const { random } = this.#simulation.world;
    const ms = this.#while();
    const name = random.chance(0.5) ? 'kafka' : 'owlmq';
    const kind = random.between(0, 2);
    return () => {
      const { systems, worker } = this.#simulation;
      const process = kind === 2 ? worker : this.#member(kind === 0 ? 'publishers' : 'consumers')?.process;
      if (process === undefined) return;
      const { cut } = systems.service(name);
      this.#say(`${process.name} does not reach ${name} for ${ms} ms`);
      cut.add(process);
      this.#later(ms, () => {
        cut.delete(process);
      });
    };
  }

  #break(fault: keyof LinkFaults): () => void {
    const { random } = this.#simulation.world;
    const ms = this.#while();
    const kind = random.chance(0.6) ? 'publishers' : 'consumers';
    return () => {
      const member = this.#member(kind);
      if (member === undefined) return;
      this.#say(`${member.process.name} is ${fault} for ${ms} ms`);
      member.link.faults[fault] = true;
      this.#later(ms, () => {
        member.link.faults[fault] = false;
      });
    };
  }

  /** A publisher neither hears of a new state nor is heard, and publishes on. */
  #cutOff(): () => void {
    const { random } = this.#simulation.world;
    const share = 0.5 + 1.5 * random.next();
    return () => {
      const { scenario } = this.#simulation;
      const member = this.#member('publishers');
      if (member === undefined) return;
      const ms = Math.round(share * scenario.leaseMs);
      this.#say(`${member.process.name} neither hears nor is heard for ${ms} ms`);
      Object.assign(member.link.faults, { muted: true, deaf: true });
      // Until its lease is over, with what is known of the fleet changing meanwhile.
      for (const part of [0.5, 0.6, 0.7, 0.8, 0.9]) {
        this.#later(Math.round(part * scenario.leaseMs), () => {
          this.#simulation.publish(member, 1);
        });
      }
      this.#later(ms, () => {
        Object.assign(member.link.faults, { muted: false, deaf: false });
      });
    };
  }

  /** A publisher whose reports get lost counts as silent in the end; then it does not hear of the next state. */
  #estrange(): () => void {
    const { random } = this.#simulation.world;
    const graceMs = random.between(1_050, 1_600);
    return () => {
      const { world, scenario } = this.#simulation;
      const member = this.#member('publishers');
      if (member === undefined) return;
      const { process, link } = member;
      this.#say(`${process.name} is muted, and deaf from the next routing state on`);
      link.faults.muted = true;
      this.#later(scenario.leaseMs + graceMs, () => {
        this.#beforeRouting.push(() => {
          this.#say(`${process.name} is deaf`);
          link.faults.deaf = true;
          world.later(undefined, scenario.leaseMs, () => {
            Object.assign(link.faults, { muted: false, deaf: false });
          });
        });
      });
      this.#later(4 * scenario.leaseMs + 4_000, () => {
        Object.assign(link.faults, { muted: false, deaf: false });
      });
    };
  }

  #more(): () => void {
    const { random } = this.#simulation.world;
    const kind = random.between(0, 2);
    const slot = ++this.#slots;
    return () => {
      if (kind === 0) this.#simulation.startPublisher(slot);
      else this.#simulation.startConsumer(GROUPS[kind - 1] ?? GROUPS[0]);
    };
  }
}
