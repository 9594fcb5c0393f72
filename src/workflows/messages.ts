import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { PlannedStep } from '@owlmq/kafka-bridge/playbook';
import type { AcknowledgeInput, RevokeInput } from './acknowledgements.js';
import type { ConfirmHookInput } from './hooks.js';
import type { Figure } from './migration-figures.js';
import type { MigrationStatus } from './status.js';

/**
 * What signals carry. All of it is optional, and plain text is taken as the reason. `force`, of a rollback: also with
 * what Kafka lacks, and without members; the refusal says what that costs. `phase`, of an approval: it counts in that
 * phase alone, so that one for a cutover does not approve a decommission.
 */
export type RequestInput = { reason?: string; by?: string; force?: boolean; phase?: string } | string;

/** What `extend` takes: how much longer Kafka is kept warm, as Temporal writes durations. */
export interface ExtendInput {
  duration: string | number;
  by?: string;
  reason?: string;
}

export const pauseSignal = defineSignal<[RequestInput?]>('pause');
export const resumeSignal = defineSignal<[RequestInput?]>('resume');
export const rollbackSignal = defineSignal<[RequestInput?]>('rollback');
export const approveSignal = defineSignal<[RequestInput?]>('approve');

/** The same as updates, refused with a reason when they make no sense now. */
export const pauseUpdate = defineUpdate<string, [RequestInput?]>('pauseMigration');
export const resumeUpdate = defineUpdate<string, [RequestInput?]>('resumeMigration');
export const rollbackUpdate = defineUpdate<string, [RequestInput?]>('rollbackMigration');
export const approveUpdate = defineUpdate<string, [RequestInput?]>('approveMigration');
export const setRatioUpdate = defineUpdate<string, [{ ratio: number; by?: string; reason?: string }]>('setRatio');
/** Keeps Kafka warm for longer; and ends the warm period now. */
export const extendUpdate = defineUpdate<string, [ExtendInput]>('extend');
export const endEarlyUpdate = defineUpdate<string, [RequestInput?]>('endEarly');
/** Excuses a known pattern of discrepancies; answers with its id. The other one ends that. */
export const acknowledgeUpdate = defineUpdate<string, [AcknowledgeInput]>('acknowledge');
export const revokeUpdate = defineUpdate<string, [RevokeInput]>('revokeAcknowledgement');
/** Answers for a hook that waits: done, or not to be done. */
export const confirmHookUpdate = defineUpdate<string, [ConfirmHookInput]>('confirmHook');

export const statusQuery = defineQuery<MigrationStatus>('status');
export const planQuery = defineQuery<PlannedStep[]>('plan');
/** What the metrics say of a run: asked by a worker that takes it over, so that it need not wait for its next step. */
export const figuresQuery = defineQuery<Figure[]>('figures');
