import { join } from 'node:path';
import { isExecutable, onPath, outputOf } from '../process/run-command.js';

/** Kafka 4 runs on this Java or a later one. */
const OLDEST_JAVA = 17;

/**
 * Path of a Java that Kafka 4 runs on: JAVA_HOME first, then PATH.
 * @throws Error when there is none, or only an older one.
 */
export async function findJava(): Promise<string> {
  const home = process.env.JAVA_HOME;
  const candidates = [home ? join(home, 'bin', 'java') : undefined, await onPath('java')];
  const outcomes: string[] = [];
  for (const java of candidates) {
    if (java === undefined || !(await isExecutable(java))) continue;
    // 17 and later print `version "17.0.15"`; 8 and earlier `version "1.8.0_402"`.
    const major = Number(/version "(\d+)/.exec(await outputOf(java, ['-version']))?.[1] ?? 0);
    if (major >= OLDEST_JAVA) return java;
    outcomes.push(`${java} is Java ${major}`);
  }
  throw new Error(`no Java ${OLDEST_JAVA} or later${outcomes.length > 0 ? ` (${outcomes.join(', ')})` : ' on PATH'}`);
}
