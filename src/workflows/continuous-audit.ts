import { ActivityFailure, CancellationScope, isCancellation } from '@temporalio/workflow';
import { percent } from '@owlmq/kafka-bridge/playbook';
import { watchAudit } from './activity-proxies.js';
import { noAuditFigures } from './audit-figures.js';
import {
  auditRequest,
  auditShards,
  AUDIT_TODO,
  joinAudited,
  partOf,
  partsFactor,
  takeOutcome,
  type Audited,
} from './audit-steps.js';
import { causeOf, failedClosed } from './failures.js';
import type { Migration } from './migration.js';
import type { Phase } from './migration-state.js';

const HOUR = 3_600_000;
const SHORTEST_MS = 5_000;
const PHASES_WITH_COPIES: readonly Phase[] = ['dual-write', 'shadow-soak', 'ready'];
const nothing: Audited = { checked: 0, figures: noAuditFigures };

/** Ends a slice early when more copies are missing than the share allows in the time. */
export interface AuditAlarm {
  share: number;
  withinMs: number;
}

interface Running {
  ratio: number;
  alarm: AuditAlarm | undefined;
  scope: CancellationScope;
  ended: Promise<unknown>;
  seen: Audited;
  alarmed: boolean;
}

/**
 * The audit to OwlMQ, and with it the forwarding of foreign records, which goes on beside the phases from the first
 * ratio to the cutover: producers without the library do not pause when a migration does, nor while a person is waited
 * for. Phases stop it where they need exact figures or another ratio; every wait starts it again.
 */
export class ContinuousAudit {
  #running: Running | undefined;

  constructor(private readonly migration: Migration) {}

  /** Whether too many copies are missing, by the alarm that it runs with. */
  get alarmed(): boolean {
    return this.#running?.alarmed ?? false;
  }

  get failed(): boolean {
    return this.migration.state.auditFailure !== undefined;
  }

  /**
   * Lets it run with the ratio of the last routing state, and the alarm if there is one. Changes nothing while it does,
   * when there are no copies to prove, and after a failure, which is for `recover` to end.
   */
  async run(alarm?: AuditAlarm): Promise<void> {
    const { state } = this.migration;
    const { ratio, fence } = state.routing;
    if (state.auditFrom === undefined || !PHASES_WITH_COPIES.includes(state.phase)) return;
    if (fence !== undefined || state.rollback !== undefined || this.failed) return;
    if (this.#running !== undefined && runsSo(this.#running, ratio, alarm)) return;
    await this.stop();
    const scope = new CancellationScope();
    const running: Running = { ratio, alarm, scope, ended: Promise.resolve(), seen: nothing, alarmed: false };
    running.ended = scope.run(() =>
      Promise.all(auditShards(this.migration).map((_, index) => this.#keepGoing(running, index))),
    );
    this.#running = running;
  }

  /** Ends it. @returns what it saw since it was started. */
  async stop(): Promise<Audited> {
    const running = this.#running;
    if (running === undefined) return nothing;
    this.#running = undefined;
    running.scope.cancel();
    await running.ended;
    return running.seen;
  }

  /** Forgets a failure, so that the next wait starts it again. */
  async recover(): Promise<void> {
    await this.stop();
    delete this.migration.state.auditFailure;
  }

  /** Blocks when it has failed, until a person has acted. Parts that have not failed go on meanwhile. */
  async blockOnFailure(): Promise<void> {
    const { auditFailure } = this.migration.state;
    if (auditFailure === undefined) return;
    await this.migration.block('audit', auditFailure.cause, AUDIT_TODO);
    await this.recover();
  }

  async #keepGoing(running: Running, index: number): Promise<void> {
    const { migration } = this;
    const { ratio, alarm, scope } = running;
    const { forward } = migration.plan;
    const forwarding = forward.length === 0 ? '' : `, forward foreign records of ${forward.join(', ')}`;
    const summary = `ratio ${percent(ratio)}: prove the copies${forwarding}${partOf(index, auditShards(migration))}`;
    const isEnding = (): boolean => scope.consideredCancelled;
    while (!isEnding()) {
      const started = Date.now();
      try {
        const request = { ...auditRequest(migration, index, ratio), sliceMs: sliceMs(migration) };
        const report = await watchAudit.executeWithOptions({ summary }, [
          { ...request, ...(alarm === undefined ? {} : { alarm }) },
        ]);
        running.seen = joinAudited(running.seen, takeOutcome(migration, index, report, Date.now() - started));
        running.alarmed ||= report.alarmed;
      } catch (error) {
        // Between two attempts there is nobody to tell: the next run goes on from the last checkpoint.
        if (isCancellation(error)) return;
        if (!(error instanceof ActivityFailure)) throw error;
        // So has an attempt that was lost, or failed, while it was being ended: nobody tries it again.
        if (isEnding() && !failedClosed(error)) return;
        this.#fail(error);
        return;
      }
    }
  }

  #fail(error: ActivityFailure): void {
    const { state } = this.migration;
    const cause = causeOf(error);
    state.auditFailure ??= { cause, since: new Date().toISOString(), closed: failedClosed(error) };
    this.migration.note(`the audit has stopped: ${cause}`);
  }
}

function runsSo(running: Running, ratio: number, alarm: AuditAlarm | undefined): boolean {
  if (running.ratio !== ratio) return false;
  return alarm === undefined || (running.alarm?.share === alarm.share && running.alarm.withinMs === alarm.withinMs);
}

/**
 * Its figures reach the status at the end of a slice. Between two slices nothing is forwarded for a moment, so that they
 * must not be too short either.
 */
function sliceMs({ plan }: Migration): number {
  return Math.max(SHORTEST_MS, Math.min(2 * HOUR * partsFactor(plan), Math.round(plan.soak.duration / 20)));
}
