import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerPlan } from './server-plan.js';

/** A program of this project that runs on the engines, such as the worker. Their addresses reach it by environment. */
export interface Program {
  readonly id: string;
  /** Path of its script. */
  readonly script: string;
  readonly args?: readonly string[];
  /** Its log shows this once it works. Without one it counts as working when it has stayed up for a second. */
  readonly readyLine?: RegExp;
}

/** A program as a server without ports; other addresses or arguments make it another one. */
export function programPlan(
  program: Program,
  env: Readonly<Record<string, string>>,
  folder: string,
): ServerPlan<never> {
  const { id, script, args = [], readyLine } = program;
  // Kept in the state file, where no secret belongs.
  const addresses = Object.entries(env).filter(([name]) => name !== 'OWLMQ_API_KEY');
  let spawnedAt = 0;
  return {
    id,
    title: id,
    folder,
    preferredPorts: {},
    fingerprint: JSON.stringify([script, args, addresses]),
    readyWithinMs: 60_000,
    graceMs: 20_000,
    command: () => {
      spawnedAt = performance.now();
      return Promise.resolve({ file: process.execPath, args: [script, ...args], env });
    },
    probe: async () => {
      if (readyLine === undefined) {
        if (performance.now() - spawnedAt < 1_000) throw new Error('it has only just started');
      } else if (!readyLine.test(await readFile(join(folder, `${id}.log`), 'utf8'))) {
        throw new Error(`its log does not yet show ${String(readyLine)}`);
      }
    },
  };
}
