import type { Command } from '../process/guarded-process.js';

/** How to run one server, whatever it is. `P` names its ports. */
export interface ServerPlan<P extends string = string> {
  /** Short name: folder, log and state entry are called so. */
  readonly id: string;
  /** Name for people. */
  readonly title: string;
  /** Its folder; data and log live there. */
  readonly folder: string;
  /** Ports it has in a shared, well-known setting; a used one gives way to the next free one. */
  readonly preferredPorts: Readonly<Record<P, number>>;
  /** What the server runs with besides its ports: a running one with another fingerprint is not reused. */
  readonly fingerprint: string;
  readonly readyWithinMs: number;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  /** Prepares configuration and storage, and tells what to run. */
  command(ports: Readonly<Record<P, number>>, signal: AbortSignal | undefined): Promise<Command>;
  /** Resolves if the server answers now, rejects (within a few seconds) if it does not. */
  probe(ports: Readonly<Record<P, number>>): Promise<void>;
}
