import { externalGroups } from './external-groups.js';
import type { MigrationPlan } from './migration-input.js';

/** What a migration is to do, as far as it can be looked at before. */
export interface PreflightRequest {
  migration: string;
  topics: string[];
  groups: string[];
  /** Groups among them whose members report to nobody. */
  external?: string[];
  /** Topics whose foreign records the bridge will copy. */
  forward: string[];
  /** Whether noise will be measured. */
  noise?: boolean;
  /** How long Kafka must keep records for the playbook to be able to go back, ms. */
  retentionNeededMs: number;
}

/** Room for what takes longer than planned, ms. */
const MARGIN_MS = 24 * 3_600_000;

/** @param migration the workflow's id. */
export function preflightRequest(plan: MigrationPlan, migration: string): PreflightRequest {
  const { topics, groups, forward, noise, soak, warm } = plan;
  const retentionNeededMs = soak.duration + warm.duration + MARGIN_MS;
  return {
    ...{ migration, topics, groups, external: externalGroups(plan), forward },
    ...{ noise: noise.duration > 0, retentionNeededMs },
  };
}
