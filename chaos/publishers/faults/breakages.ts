import { setTimeout as delay } from 'node:timers/promises';
import type { Waits } from '../../faults/injector.js';
import { breakLink } from '../../faults/link-faults.js';
import type { Rig } from '../../rig/rig.js';
import type { Links, Toxic } from '../../rig/toxiproxy.js';
import type { RunLog } from '../../run-log.js';
import type { AuditProcess } from '../audit/audit-process.js';
import type { Controller } from '../control/controller.js';
import type { PublisherFleet } from '../fleet/publisher-fleet.js';
import type { Pace } from '../pace.js';
import type { Fault } from './fault.js';

export interface BreakagesOptions {
  readonly rig: Rig;
  readonly fleet: PublisherFleet;
  readonly controller: Pick<Controller, 'primary' | 'copying' | 'fenceSoon'>;
  readonly audit: AuditProcess | undefined;
  readonly pace: Pace;
  readonly log: RunLog;
  /** Ends the run at once. */
  readonly signal: AbortSignal;
}

/** How long a targeted kill waits for the acknowledgement that it is to follow. */
const TARGET_MS = 4_000;
/** Time for a batch to leave. */
const UNDER_WAY_MS = 300;

/** Breaks publishers, their links, the legs and the auditor, and heals them. */
export class Breakages {
  readonly #options: BreakagesOptions;

  constructor(options: BreakagesOptions) {
    this.#options = options;
  }

  async inject(fault: Fault, { pause, until }: Waits): Promise<void> {
    const { rig, fleet, audit, pace } = this.#options;
    const { kind, publisher, leg, strength, lastsMs, deadMs } = fault;
    switch (kind) {
      case 'kill-publisher':
        await fleet.kill(publisher);
        await pause(deadMs);
        await fleet.start(publisher);
        return;
      case 'kill-between-legs':
        await this.#killBetweenLegs(fault, { pause, until });
        return;
      case 'freeze-publisher':
        await this.#freeze(publisher, pace.leaseMs + lastsMs);
        return;
      case 'freeze-mid-write':
        await this.#freezeMidWrite(fault, pause);
        return;
      case 'restart-kafka':
        await rig.kafka.kill();
        await pause(deadMs);
        await rig.kafka.startAgain();
        return;
      case 'restart-owlmq':
        await rig.owlmq.kill();
        await pause(deadMs + lastsMs);
        await rig.owlmq.startAgain();
        return;
      case 'kill-auditor':
        await audit?.kill();
        await pause(deadMs);
        await audit?.start();
        return;
      default:
        await breakLink(this.#links(publisher)[leg], kind, strength, () => pause(lastsMs));
    }
  }

  /** A link holds back what is sent for longer than the lease lasts; the fleet is fenced while its sender is frozen. */
  async #freezeMidWrite({ publisher, lastsMs }: Fault, pause: Waits['pause']): Promise<void> {
    const { controller, pace } = this.#options;
    const heldBackMs = pace.leaseMs + pace.lateMs;
    const slow: Toxic = { type: 'latency', stream: 'upstream', attributes: { latency: heldBackMs } };
    await this.#links(publisher)[controller.primary].during([slow], async () => {
      await pause(UNDER_WAY_MS);
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
  async #killBetweenLegs({ publisher, deadMs }: Fault, { pause, until }: Waits): Promise<void> {
    const { fleet, controller, log } = this.#options;
    await until(() => controller.copying, TARGET_MS);
    const mirror = controller.primary === 'kafka' ? 'owlmq' : 'kafka';
    await breakLink(this.#links(publisher)[mirror], 'link-silent', 1, async () => {
      const { lastOkAt } = fleet.publications;
      await fleet.look();
      const before = lastOkAt.get(publisher) ?? 0;
      await until(async () => {
        await fleet.look();
        return (lastOkAt.get(publisher) ?? 0) > before;
      }, TARGET_MS);
      log.write('killed between legs', { publisher, mirror, acknowledged: (lastOkAt.get(publisher) ?? 0) > before });
      await fleet.kill(publisher);
    });
    await pause(deadMs);
    await fleet.start(publisher);
  }

  #links(publisher: number): Links {
    const links = this.#options.rig.links[publisher];
    if (links === undefined) throw new RangeError(`There is no publisher ${publisher}.`);
    return links;
  }
}
