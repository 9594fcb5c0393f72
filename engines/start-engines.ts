import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FolderBusyError } from './errors.js';
import { Progress, type Log } from './fetch/progress.js';
import { findKafka } from './find/kafka.js';
import { findTemporalCli } from './find/temporal-cli.js';
import { stopGroup, type GuardedProcess } from './process/guarded-process.js';
import { makeOwnedFolder } from './process/owned-folder.js';
import { withOwnerLock } from './process/owner-lock.js';
import { isAlive } from './process/process-identity.js';
import { requireFreeSpace } from './run/disk-space.js';
import { givenAddresses, type EngineAddresses, type EngineName } from './run/given-addresses.js';
import { kafkaPlan } from './run/kafka.js';
import { launch } from './run/launch.js';
import { keptApiKey, owlmqPlan } from './run/owlmq.js';
import { programPlan, type Program } from './run/program.js';
import type { ServerPlan } from './run/server-plan.js';
import { StateFile, type ServerState } from './run/state-file.js';
import { temporalPlan } from './run/temporal.js';

export interface StartEnginesOptions<W extends EngineName> {
  readonly want: readonly W[];
  /** Where data and logs stay. Without it they live in a temporary folder that goes with the engines. */
  readonly dataDir?: string;
  /**
   * Whether the engines outlive this process, to be ended by `stopEngines`; needs `dataDir`. Otherwise (the default)
   * they end with this process, even if it is killed.
   */
  readonly keepRunning?: boolean;
  /** `preferred`: the well-known ports, or the next ones where those are in use. `free` (the default): any. */
  readonly ports?: 'preferred' | 'free';
  /** Programs to run on the engines once they answer. */
  readonly programs?: readonly Program[];
  /** Gets what a person should know: what is fetched, which ports give way, what was left over. */
  readonly log?: Log;
  /** Ends the start early; nothing is left running or half-fetched. */
  readonly signal?: AbortSignal;
}

/** Engines that answer. */
export type Engines<W extends EngineName> = Pick<EngineAddresses, W> & {
  /** The addresses, and OwlMQ's key, as the environment that the worker and the `kafka-bridge` command read. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends what this start has started; data stays unless the folder was temporary. Safe to call more than once. */
  stop(): Promise<void>;
};

/**
 * Gives the engines that are wanted: those the environment gives (TEMPORAL_ADDRESS, KAFKA_BROKERS, OWLMQ_URL) as they
 * are, those that an earlier start left running in `dataDir`, and the others started, from programs found on this
 * machine or fetched. All of them, or none: after a failure nothing that this call started still runs.
 * @throws EngineUnavailableError, EngineStartError, EngineConfigError, DiskFullError, FolderBusyError
 */
export async function startEngines<const W extends EngineName>(options: StartEnginesOptions<W>): Promise<Engines<W>> {
  if (options.keepRunning === true && options.dataDir === undefined) throw new TypeError('keepRunning needs a dataDir');
  const temporary = options.dataDir === undefined;
  const dataDir = resolve(options.dataDir ?? (await makeOwnedFolder(tmpdir(), 'kafka-to-owlmq')));
  try {
    await requireFreeSpace(dataDir);
    const starting = new Start<W>(options, dataDir, temporary);
    // Of a temporary folder no other process knows.
    if (temporary) return await starting.run();
    return await withOwnerLock(join(dataDir, 'lock'), { waitMs: 0 }, () => starting.run());
  } catch (error) {
    if (temporary) await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
}

/** One run of `startEngines`: what it has started so far, and how to undo it. */
class Start<W extends EngineName> {
  private readonly progress: Progress;
  private readonly state: StateFile | undefined;
  private readonly failed = new AbortController();
  private readonly signal: AbortSignal;
  private readonly engines: { id: string; process: GuardedProcess }[] = [];
  private readonly programs: { id: string; process: GuardedProcess }[] = [];

  constructor(
    private readonly options: StartEnginesOptions<W>,
    private readonly dataDir: string,
    private readonly temporary: boolean,
  ) {
    this.progress = new Progress(options.log);
    this.state = temporary ? undefined : new StateFile(dataDir);
    this.signal = options.signal ? AbortSignal.any([options.signal, this.failed.signal]) : this.failed.signal;
  }

  async run(): Promise<Engines<W>> {
    try {
      const addresses = await this.startWanted();
      const env = environment(addresses);
      for (const program of this.options.programs ?? []) {
        await this.ensure(programPlan(program, env, join(this.dataDir, program.id)), this.programs);
      }
      if (this.options.keepRunning === true) {
        await Promise.all([...this.engines, ...this.programs].map(({ process }) => process.release()));
      }
      return { ...(addresses as Pick<EngineAddresses, W>), env, stop: () => this.stop() };
    } catch (error) {
      await this.stop();
      // What was asked for is the reason, whichever wait it cut short.
      this.options.signal?.throwIfAborted();
      throw error;
    }
  }

  private async startWanted(): Promise<Partial<EngineAddresses>> {
    const want = new Set<EngineName>(this.options.want);
    const addresses = await givenAddresses(want);
    const start: Record<EngineName, () => Promise<void>> = {
      temporal: async () => {
        const cli = await findTemporalCli(this.progress, this.signal);
        const { grpc, ui } = await this.ensure(temporalPlan(cli, join(this.dataDir, 'temporal')), this.engines);
        addresses.temporal = { address: `127.0.0.1:${grpc}`, uiUrl: `http://127.0.0.1:${ui}` };
      },
      kafka: async () => {
        const program = await findKafka(this.progress, this.signal);
        const { broker } = await this.ensure(kafkaPlan(program, join(this.dataDir, 'kafka')), this.engines);
        addresses.kafka = { brokers: [`127.0.0.1:${broker}`] };
      },
      owlmq: async () => {
        const folder = join(this.dataDir, 'owlmq');
        await mkdir(folder, { recursive: true });
        const apiKey = await keptApiKey(folder);
        const { http } = await this.ensure(owlmqPlan(apiKey, folder), this.engines);
        addresses.owlmq = { url: `http://127.0.0.1:${http}`, apiKey };
      },
    };
    await this.all([...want].filter((name) => addresses[name] === undefined).map((name) => start[name]()));
    return addresses;
  }

  /** Waits for all; the first failure ends the others early, and is what is thrown once they have ended. */
  private async all(work: readonly Promise<void>[]): Promise<void> {
    let first: { error: unknown } | undefined;
    const settled = work.map((one) =>
      one.catch((error: unknown) => {
        first ??= { error };
        this.failed.abort();
      }),
    );
    await Promise.all(settled);
    if (first !== undefined) throw first.error;
  }

  /** The ports of the server, which an earlier start left running or this one starts. */
  private async ensure<P extends string>(
    plan: ServerPlan<P>,
    started: { id: string; process: GuardedProcess }[],
  ): Promise<Readonly<Record<P, number>>> {
    const running = await this.leftover(plan);
    if (running !== undefined) return running.ports as Record<P, number>;
    const launching = launch(plan, {
      ports: this.options.ports ?? 'free',
      log: this.progress.log,
      signal: this.signal,
      temporary: this.temporary,
      onSpawned: async ({ process: { id }, ports, logFile }) => {
        const { id: name, title, fingerprint, graceMs } = plan;
        const since = new Date().toISOString();
        await this.state?.put({ id: name, title, ...id, ports, fingerprint, graceMs, logFile, since });
      },
    });
    const launched = await launching.catch(async (error: unknown) => {
      await this.state?.remove(plan.id);
      throw error;
    });
    started.push({ id: plan.id, process: launched.process });
    return launched.ports;
  }

  /** What an earlier start left of this server, if it can be used as it is; else it is cleared away. */
  private async leftover<P extends string>(plan: ServerPlan<P>): Promise<ServerState | undefined> {
    const found = (await this.state?.read())?.find(({ id }) => id === plan.id);
    if (found === undefined) return undefined;
    if (!(await isAlive(found))) {
      this.progress.log(
        `${plan.title}: process ${found.pid} of an earlier run has ended without \`down\`; starting anew.`,
      );
    } else if (this.options.keepRunning !== true) {
      throw new FolderBusyError(`${plan.title} already runs on ${this.dataDir} (process ${found.pid}).`);
    } else if (found.fingerprint === plan.fingerprint && (await this.answers(plan, found))) {
      return found;
    } else {
      this.progress.log(`${plan.title}: process ${found.pid} of an earlier run cannot be used, ending it.`);
      await stopGroup(found, found.graceMs);
    }
    await this.state?.remove(plan.id);
    return undefined;
  }

  private async answers<P extends string>(plan: ServerPlan<P>, found: ServerState): Promise<boolean> {
    const until = performance.now() + 10_000;
    for (;;) {
      try {
        await plan.probe(found.ports as Record<P, number>);
        return true;
      } catch {
        if (performance.now() >= until || !(await isAlive(found))) return false;
        await delay(250, undefined, { signal: this.signal });
      }
    }
  }

  private async stop(): Promise<void> {
    const end = async ({ id, process }: { id: string; process: GuardedProcess }) => {
      await process.stop();
      await this.state?.remove(id);
    };
    // Programs first: they may want to say goodbye to the engines.
    await Promise.all(this.programs.map(end));
    await Promise.all(this.engines.map(end));
    if (this.temporary) await rm(this.dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

function environment({ temporal, kafka, owlmq }: Partial<EngineAddresses>): Record<string, string> {
  return {
    ...(temporal && { TEMPORAL_ADDRESS: temporal.address }),
    ...(kafka && { KAFKA_BROKERS: kafka.brokers.join(',') }),
    ...(owlmq && { OWLMQ_URL: owlmq.url, OWLMQ_API_KEY: owlmq.apiKey }),
  };
}
