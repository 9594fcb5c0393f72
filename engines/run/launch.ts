import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import getPort, { portNumbers } from 'get-port';
import { EngineStartError, messageOf } from '../errors.js';
import type { Log } from '../fetch/progress.js';
import { GuardedProcess, type Ending } from '../process/guarded-process.js';
import { freePort } from './free-port.js';
import type { ServerPlan } from './server-plan.js';

export interface LaunchOptions {
  /** `preferred`: the plan's ports where they are free. `free`: any. `exact`: the plan's and no others. */
  readonly ports: 'preferred' | 'free' | 'exact';
  readonly log: Log;
  readonly signal: AbortSignal | undefined;
  /** Called as soon as the process is there, before it answers. */
  readonly onSpawned?: (spawned: Launched) => Promise<void>;
  /** The server's folder goes when this process dies. */
  readonly temporary: boolean;
}

/** A server that was started. */
export interface Launched<P extends string = string> {
  readonly process: GuardedProcess;
  readonly ports: Readonly<Record<P, number>>;
  readonly logFile: string;
}

/** Another program can take a port between the choice and the use of it; then others are chosen. */
const PORT_ATTEMPTS = 3;

/**
 * Starts a server and waits until it answers; on any failure nothing of it is left running.
 * @throws EngineStartError with the end of its log when it ends early or does not answer in time.
 */
export async function launch<P extends string>(plan: ServerPlan<P>, options: LaunchOptions): Promise<Launched<P>> {
  await mkdir(plan.folder, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    try {
      return await launchOnce(plan, options);
    } catch (error) {
      const portTaken =
        error instanceof EngineStartError && /address already in use|EADDRINUSE/i.test(error.log?.tail ?? '');
      if (!portTaken || attempt === PORT_ATTEMPTS) throw error;
      options.log(`${plan.title}: a port was taken in the meantime, trying others.`);
    }
  }
}

async function launchOnce<P extends string>(plan: ServerPlan<P>, options: LaunchOptions): Promise<Launched<P>> {
  const { signal } = options;
  const ports = await choosePorts(plan, options);
  const command = await plan.command(ports, signal);
  signal?.throwIfAborted();
  const logFile = join(plan.folder, `${plan.id}.log`);
  const process = await GuardedProcess.start(command, {
    name: plan.title,
    logFile,
    graceMs: plan.graceMs,
    removeIfOrphaned: options.temporary ? plan.folder : undefined,
  });
  const launched = { process, ports, logFile };
  try {
    await options.onSpawned?.(launched);
    await untilReady(plan, launched, signal);
    return launched;
  } catch (error) {
    await process.stop();
    throw error;
  }
}

async function choosePorts<P extends string>(plan: ServerPlan<P>, options: LaunchOptions): Promise<Record<P, number>> {
  const chosen: [string, number][] = [];
  for (const [name, preferred] of Object.entries<number>(plan.preferredPorts)) {
    if (options.ports === 'exact') {
      chosen.push([name, preferred]);
      continue;
    }
    const host = '127.0.0.1';
    const exclude = chosen.map(([, port]) => port);
    if (options.ports === 'free') {
      chosen.push([name, await freePort(exclude)]);
      continue;
    }
    const port = await getPort({ host, exclude, port: portNumbers(preferred, preferred + 99) });
    if (port !== preferred) options.log(`${plan.title}: port ${preferred} is in use, taking ${port} (${name}).`);
    chosen.push([name, port]);
  }
  return Object.fromEntries(chosen) as Record<P, number>;
}

async function untilReady<P extends string>(
  plan: ServerPlan<P>,
  { process, ports }: Launched<P>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const deadline = performance.now() + plan.readyWithinMs;
  let ending: Ending | undefined;
  const ended = process.ended.then((how) => {
    ending = how;
  });
  for (;;) {
    signal?.throwIfAborted();
    const unready = await Promise.race([
      plan.probe(ports).then(
        () => 'ready' as const,
        (error: unknown) => ({ error }),
      ),
      ended,
    ]);
    if (ending !== undefined) {
      const how = 'code' in ending ? `with exit code ${ending.code}` : `by ${ending.signal}`;
      throw new EngineStartError(plan.title, `ended ${how} before it answered.`, await process.log());
    }
    if (unready === 'ready') return;
    if (performance.now() >= deadline) {
      const { error: cause } = unready ?? {};
      throw new EngineStartError(
        plan.title,
        `did not answer within ${plan.readyWithinMs / 1_000} s (${messageOf(cause)}).`,
        await process.log(),
        { cause },
      );
    }
    await Promise.race([delay(100, undefined, { signal }), ended]);
  }
}
