import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import type { RestartableServer } from '../../../engines/run/restartable-server.js';
import type { Waits } from '../../faults/injector.js';
import { breakLink } from '../../faults/link-faults.js';
import type { Rig } from '../../rig/rig.js';
import type { RunLog } from '../../run-log.js';
import type { Member, MigrationFleet } from '../fleet.js';
import type { Fault } from './fault.js';

export interface BreakagesOptions {
  readonly rig: Rig;
  readonly temporal: RestartableServer<string>;
  readonly fleet: MigrationFleet;
  readonly folder: string;
  readonly log: RunLog;
}

const POLL_MS = 50;
const HEALED_WITHIN_MS = 30_000;

/** Whether files of a process can be kept from growing here: Linux has `prlimit`. */
export async function canFillDisks(): Promise<boolean> {
  const { failed } = await execa('prlimit', ['--version'], { reject: false });
  return !failed;
}

/** Breaks processes, engines and links, and heals them. */
export class Breakages {
  readonly #options: BreakagesOptions;

  constructor(options: BreakagesOptions) {
    this.#options = options;
  }

  async inject(fault: Fault, waits: Waits): Promise<void> {
    const { rig, temporal, fleet } = this.#options;
    const { kind, leg, strength, lastsMs, deadMs } = fault;
    const member = this.#member(fault);
    switch (kind) {
      case 'kill-producer':
      case 'kill-java-producer':
      case 'kill-consumer':
      case 'kill-worker':
        await fleet.kill(member);
        await waits.pause(deadMs);
        await fleet.start(member);
        return;
      case 'freeze-producer':
      case 'freeze-consumer':
      case 'freeze-worker':
        await fleet.freeze(member);
        await waits.pause(lastsMs);
        await fleet.thaw(member);
        return;
      case 'restart-kafka':
        await restart(rig.kafka, () => waits.pause(deadMs));
        return;
      case 'restart-owlmq':
        await restart(rig.owlmq, () => waits.pause(deadMs));
        return;
      case 'restart-temporal':
        await restart(temporal, () => waits.pause(deadMs));
        return;
      case 'freeze-kafka':
        await freeze(rig.kafka, () => waits.pause(lastsMs));
        return;
      case 'freeze-owlmq':
        await freeze(rig.owlmq, () => waits.pause(lastsMs));
        return;
      case 'owlmq-disk-full':
        await this.#fillDisk(lastsMs, waits);
        return;
      default:
        await breakLink(member.links[leg], kind, strength, () => waits.pause(lastsMs));
    }
  }

  /** The limit is what the file has now. A server that ends by it is started again, as a supervisor would: into the same limit. */
  async #fillDisk(lastsMs: number, { until }: Waits): Promise<void> {
    const { folder, rig } = this.#options;
    const store = join(folder, 'owlmq', 'data', 'owlmq.mdb');
    const deadline = performance.now() + lastsMs;
    do {
      await this.#limitFiles((await stat(store)).size);
    } while (await this.#startedAgain(until, deadline - performance.now()));
    await this.#limitFiles('unlimited');
    // What failed before there was room again may end it only now.
    const answers = async (): Promise<boolean> => {
      const health = fetch(`${rig.direct.owlmqUrl}/healthz`, { signal: AbortSignal.timeout(2_000) });
      return (await health.catch(() => undefined))?.ok === true;
    };
    const giveUpAt = performance.now() + HEALED_WITHIN_MS;
    while (performance.now() < giveUpAt) {
      if (!(await this.#startedAgain(until, POLL_MS)) && (await answers())) return;
      await delay(POLL_MS);
    }
    throw new Error(`owlmq-local does not answer ${HEALED_WITHIN_MS} ms after its disk had room again.`);
  }

  async #limitFiles(bytes: number | 'unlimited'): Promise<void> {
    const { pid } = this.#options.rig.owlmq;
    // It may just have ended.
    await execa('prlimit', ['--pid', String(pid), `--fsize=${bytes}:unlimited`], { reject: false });
  }

  /** Whether OwlMQ ended within the time, and was started again. */
  async #startedAgain(until: Waits['until'], ms: number): Promise<boolean> {
    const { log, rig } = this.#options;
    const { pid, ended } = rig.owlmq;
    let over: boolean | undefined;
    ended.then(
      () => (over = true),
      () => (over = true),
    );
    await until(() => over === true, ms);
    if (over !== true) return false;
    log.write('owlmq ended on a full disk', { pid });
    await rig.owlmq.startAgain();
    return true;
  }

  #member({ member: name }: Fault): Member {
    const member = this.#options.fleet.members.find((one) => one.name === name);
    if (member === undefined) throw new RangeError(`There is no ${name}.`);
    return member;
  }
}

async function restart(server: RestartableServer<string>, meanwhile: () => Promise<void>): Promise<void> {
  await server.kill();
  await meanwhile();
  await server.startAgain();
}

async function freeze(server: RestartableServer<string>, meanwhile: () => Promise<void>): Promise<void> {
  await server.freeze();
  try {
    await meanwhile();
  } finally {
    await server.thaw();
  }
}
