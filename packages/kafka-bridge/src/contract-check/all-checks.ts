import type { Check } from './check.js';
import { authChecks } from './checks/auth.js';
import { errorChecks } from './checks/errors.js';
import { groupChecks } from './checks/groups.js';
import { idChecks } from './checks/ids.js';
import { leaseChecks } from './checks/leases.js';
import { limitChecks } from './checks/limits.js';
import { lookupChecks } from './checks/lookup.js';
import { memberChecks } from './checks/members.js';
import { publishChecks } from './checks/publish.js';
import { readChecks } from './checks/read.js';
import { restartChecks } from './checks/restart.js';
import { topicChecks } from './checks/topics.js';

/** Checks that look at all answers of the run, so that they come last. */
const LAST = ['errors.form', 'errors.retry-after'];

/** All checks, each behind those that it needs. */
export const allChecks: readonly Check[] = inOrder([
  ...authChecks,
  ...topicChecks,
  ...limitChecks,
  ...publishChecks,
  ...idChecks,
  ...lookupChecks,
  ...readChecks,
  ...groupChecks,
  ...memberChecks,
  ...leaseChecks,
  ...errorChecks,
  ...restartChecks,
]);

/**
 * The checks that are named, by name or by subject (`publish` for all `publish.…`), and those that they need. Names that
 * fit nothing are returned as `unknown`.
 */
export function chosenChecks(names: readonly string[]): { checks: readonly Check[]; unknown: string[] } {
  const fits = ({ name }: Check, wanted: string): boolean => name === wanted || name.startsWith(`${wanted}.`);
  const unknown = names.filter((wanted) => !allChecks.some((check) => fits(check, wanted)));
  const chosen = new Set<string>();
  const choose = (check: Check): void => {
    if (chosen.has(check.name)) return;
    chosen.add(check.name);
    for (const needed of allChecks) if (check.needs.includes(needed.name)) choose(needed);
  };
  for (const check of allChecks) if (names.some((wanted) => fits(check, wanted))) choose(check);
  return { checks: allChecks.filter(({ name }) => chosen.has(name)), unknown };
}

/** Subjects stay together as far as needs allow. */
function inOrder(checks: readonly Check[]): Check[] {
  const byName = new Map(checks.map((check) => [check.name, check]));
  const ordered = new Set<Check>();
  const add = (check: Check, needing: readonly string[]): void => {
    if (ordered.has(check)) return;
    if (needing.includes(check.name)) throw new Error(`Checks need each other: ${[...needing, check.name].join(', ')}`);
    for (const name of check.needs) {
      const needed = byName.get(name);
      if (needed === undefined) throw new Error(`${check.name} needs ${name}, which is not there`);
      add(needed, [...needing, check.name]);
    }
    ordered.add(check);
  };
  for (const check of checks) if (!LAST.includes(check.name)) add(check, []);
  for (const check of checks) add(check, []);
  return [...ordered];
}
