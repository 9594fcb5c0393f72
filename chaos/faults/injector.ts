import { setTimeout as delay } from 'node:timers/promises';
import type { AuditProcess } from '../audit/audit-process.js';
import type { Controller } from '../control/controller.js';
import type { Pace } from '../pace.js';
import type { PublisherFleet } from '../publishers/publisher-fleet.js';
import type { Rig } from '../rig/rig.js';
import type { Links, Toxic } from '../rig/toxiproxy.js';
import type { RunLog } from '../run-log.js';
import { resourcesOf, type Fault, type FaultKind } from './fault.js';
import { toxicsOf } from './link-faults.js';

export interface InjectorOptions {
  readonly rig: Rig;
  readonly fleet: PublisherFleet;
  readonly controller: Pick<Controller, 'primary' | 'copying' | 'fenceSoon'>;
  readonly audit: AuditProcess | undefined;
  readonly faults: Iterable<Fault>;
  readonly pace: Pace;
  readonly log: RunLog;
  /** Ends the run at once. */
  readonly signal: AbortSignal;
}

const AT_ONCE = 2;
const POLL_MS = 20;
/** How long a targeted kill waits for the acknowledgement that it is to follow. */
const TARGET_MS = 4_000;
/** Time for a batch to leave. */
const UNDER_WAY_MS = 300;

/** Begins faults one after the other, at most two at a time, and heals each. */
export class Injector {
  /** Faults that were healed, by kind. */
  readonly counts = new Map<FaultKind, number>();
  readonly #options: InjectorOptions;
  readonly #active = new Map<Fault, Promise<void>>();
  readonly #taken = new Set<string>();
  readonly #stop = new AbortController();
  #failed: Error | undefined;
  #finished = false;

  constructor(options: InjectorOptions) {
    this.#options = options;
  }

  /** No more will begin, and all are healed. */
  get finished(): boolean {
    return this.#finished;
  }

  get injected(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Injects until `stop()`, or all; resolves when all is healed. @throws what a fault could not be healed for. */
  async run(): Promise<void> {
    const { faults, audit } = this.#options;
    try {
      for (const fault of faults) {
        if (fault.kind === 'kill-auditor' && audit === undefined) continue;
        await this.#pause(fault.gapMs);
        const free = () => this.#active.size < AT_ONCE && resourcesOf(fault).every((name) => !this.#taken.has(name));
        while (!this.#stopping && !free()) await this.#pause(POLL_MS);
        if (this.#stopping) break;
        this.#begin(fault);
      }
    } finally {
      await Promise.all(this.#active.values());
      this.#finished = true;
    }
    if (this.#failed !== undefined) throw this.#failed;
  }

  /** Begins no more, and ends those that can end early. */
  stop(): void {
    this.#stop.abort();
  }

  #begin(fault: Fault): void {
    const { log } = this.#options;
    const { index, kind, publisher, leg } = fault;
    const about = { index, kind, publisher, leg };
    for (const name of resourcesOf(fault)) this.#taken.add(name);
    log.write('fault begins', { ...about, lastsMs: fault.lastsMs, strength: fault.strength });
    const work = this.#inject(fault)
      .then(() => {
        this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
      })
      .catch((error: unknown) => {
        this.#failed ??= error instanceof Error ? error : new Error(String(error));
        this.#stop.abort();
      })
      .finally(() => {
        log.write('fault ends', about);
        for (const name of resourcesOf(fault)) this.#taken.delete(name);
        this.#active.delete(fault);
      });
    this.#active.set(fault, work);
  }

  async #inject(fault: Fault): Promise<void> {
    const { rig, fleet, audit, pace } = this.#options;
    const { kind, publisher, leg, lastsMs, deadMs } = fault;
    const link = this.#links(publisher)[leg];
    switch (kind) {
      case 'kill-publisher':
        await fleet.kill(publisher);
        await this.#pause(deadMs);
        await fleet.start(publisher);
        return;
      case 'kill-between-legs':
        await this.#killBetweenLegs(fault);
        return;
      case 'freeze-publisher':
        await this.#freeze(publisher, pace.leaseMs + lastsMs);
        return;
      case 'freeze-mid-write':
        await this.#freezeMidWrite(fault);
        return;
      case 'restart-kafka':
        await rig.kafka.kill();
        await this.#pause(deadMs);
        await rig.kafka.startAgain();
        return;
      case 'restart-owlmq':
        await rig.owlmq.kill();
        await this.#pause(deadMs + lastsMs);
        await rig.owlmq.startAgain();
        return;
      case 'kill-auditor':
        await audit?.kill();
        await this.#pause(deadMs);
        await audit?.start();
        return;
      case 'link-down':
        await link.down(() => this.#pause(lastsMs));
        return;
      default:
        await link.during(toxicsOf(kind, fault), () => this.#pause(lastsMs));
    }
  }

  /** A link holds back what is sent for longer than the lease lasts; the fleet is fenced while its sender is frozen. */
  async #freezeMidWrite({ publisher, lastsMs }: Fault): Promise<void> {
    const { controller, pace } = this.#options;
    const heldBackMs = pace.leaseMs + pace.lateMs;
    const slow: Toxic = { type: 'latency', stream: 'upstream', attributes: { latency: heldBackMs } };
    await this.#links(publisher)[controller.primary].during([slow], async () => {
      await this.#pause(UNDER_WAY_MS);
      controller.fenceSoon();
      await this.#freeze(publisher, heldBackMs + lastsMs);
    });
  }

  /** For the whole time, also when the run is about to end. */
  async #freeze(publisher: number, ms: number): Promise<void> {
    const { fleet, signal } = this.#options;
    await fleet.freeze(publisher);
    try {
      await delay(ms, undefined, { signal });
    } finally {
      await fleet.thaw(publisher);
    }
  }

  /** Whatever the primary leg acknowledges while the mirror's link is silent is on that leg alone when the process dies. */
  async #killBetweenLegs({ publisher, deadMs }: Fault): Promise<void> {
    const { fleet, controller, log } = this.#options;
    await this.#until(() => controller.copying);
    const mirror = controller.primary === 'kafka' ? 'owlmq' : 'kafka';
    await this.#links(publisher)[mirror].during(toxicsOf('link-silent', { strength: 1 }), async () => {
      const { lastOkAt } = fleet.publications;
      await fleet.look();
      const before = lastOkAt.get(publisher) ?? 0;
      await this.#until(async () => {
        await fleet.look();
        return (lastOkAt.get(publisher) ?? 0) > before;
      });
      log.write('killed between legs', { publisher, mirror, acknowledged: (lastOkAt.get(publisher) ?? 0) > before });
      await fleet.kill(publisher);
    });
    await this.#pause(deadMs);
    await fleet.start(publisher);
  }

  #links(publisher: number): Links {
    const links = this.#options.rig.links[publisher];
    if (links === undefined) throw new RangeError(`There is no publisher ${publisher}.`);
    return links;
  }

  get #stopping(): boolean {
    return this.#stop.signal.aborted;
  }

  async #until(condition: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + TARGET_MS;
    while (!(await condition()) && performance.now() < deadline) await this.#pause(POLL_MS);
  }

  /** Ends early when the run does; faults are healed all the same. */
  async #pause(ms: number): Promise<void> {
    const { signal } = this.#options;
    try {
      await delay(ms, undefined, { signal: AbortSignal.any([signal, this.#stop.signal]) });
    } catch (error) {
      signal.throwIfAborted();
      if (!this.#stopping) throw error;
    }
  }
}
