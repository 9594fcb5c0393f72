import type { MigrationPlan } from './migration-input.js';

type Groups = Pick<MigrationPlan, 'groups' | 'hooks'>;

/** Groups that hooks stand for: their members report to nobody, and nothing of them is compared. */
export function externalGroups({ groups, hooks }: Groups): string[] {
  return groups.filter((group) => hooks.some((hook) => hook.groups.includes(group)));
}

/** Groups whose members report and obey the routing. */
export function embeddedGroups(plan: Groups): string[] {
  const external = externalGroups(plan);
  return plan.groups.filter((group) => !external.includes(group));
}
