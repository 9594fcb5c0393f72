import {
  ActivityFailure,
  CancellationScope,
  condition,
  ContinueAsNew,
  continueAsNew,
  isCancellation,
  log,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType, type SearchAttributeUpdatePair } from '@temporalio/common';
import type { RoutingState } from '@owlmq/kafka-bridge/operations';
import { type MigrationPlan, parseDuration, words, YEAR } from '@owlmq/kafka-bridge/playbook';
import { applyRouting } from './activity-proxies.js';
import { acknowledge, patternWords, revoke, type AcknowledgeInput, type RevokeInput } from './acknowledgements.js';
import { ContinuousAudit } from './continuous-audit.js';
import { causeOf, failedClosed, supersedingEpoch } from './failures.js';
import { migrationFigures, reportFigures, type Figure } from './migration-figures.js';
import type { ExtendInput, RequestInput } from './messages.js';
import {
  NOISE_STEP,
  PHASES,
  type CarriedOver,
  type MigrationState,
  type Phase,
  type Request,
  type RoutingChange,
  type RoutingContent,
} from './migration-state.js';
import { tellPhase } from './phase-header.js';
import { statusMarkdown } from './status.js';

const phaseKey = defineSearchAttributeKey('MigrationPhase', SearchAttributeType.KEYWORD);
const ratioKey = defineSearchAttributeKey('MigrationRatio', SearchAttributeType.DOUBLE);
export const blockedKey = defineSearchAttributeKey('MigrationBlocked', SearchAttributeType.BOOL);
export const attentionKey = defineSearchAttributeKey('MigrationAttention', SearchAttributeType.KEYWORD);

/** Visibility stores refuse or cut longer keywords. */
export const KEYWORD_LENGTH = 200;

const LOG_ENTRIES = 60;

/** Of what people sent: longer than the log, which phases fill by themselves. */
const ASKED_ENTRIES = 100;

/** Of what people write; the history has all of it. */
const TEXT_LENGTH = 1_000;

/** Pause between tries of a step that fails while publishers are held. */
const RETRY_UNDER_FENCE_MS = 10_000;

/**
 * One run of the playbook: its state, and what every phase needs to change it in a way that people can follow. The
 * phases are in `phases/`, their order in `playbook.ts`.
 */
export class Migration {
  #scope = new CancellationScope();
  /** The audit to OwlMQ that runs beside the phases. */
  readonly audit = new ContinuousAudit(this);

  constructor(
    readonly plan: MigrationPlan,
    readonly state: MigrationState,
  ) {
    tellPhase(() => state.phase);
  }

  get name(): string {
    return workflowInfo().workflowId;
  }

  /** Runs the playbook until its end or until a rollback is asked for, whichever comes first. */
  async untilRollback(playbook: () => Promise<void>): Promise<'completed' | 'rollback'> {
    try {
      // One that came in the last moments of the run before this one.
      if (this.state.rollback !== undefined) return 'rollback';
      // After a rollback that was refused the playbook goes on.
      if (this.#scope.consideredCancelled) this.#scope = new CancellationScope();
      await this.#scope.run(playbook);
      return 'completed';
    } catch (error) {
      if (error instanceof ContinueAsNew) throw error;
      // Whatever ended the playbook while it was being cancelled: the rollback is what counts.
      if (!this.#scope.consideredCancelled && !isCancellation(error)) throw error;
      // Cancelling the workflow must not leave a fleet half moved: it goes back, then ends as cancelled.
      this.state.rollback ??= { reason: 'the workflow was cancelled', by: 'cancel request', at: now() };
      return 'rollback';
    } finally {
      await this.audit.stop();
    }
  }

  // -- what people ask for ------------------------------------------------------------------------------------------

  /** Keeps who sent which signal or update, and why: all that were taken, whether or not they changed anything. */
  asked(what: string, input: unknown): Request {
    const request = toRequest(input);
    const { by, reason, at } = request;
    this.state.asked = [...(this.state.asked ?? []).slice(1 - ASKED_ENTRIES), { what, by, reason, at }];
    return request;
  }

  pause(input: RequestInput | undefined): void {
    const request = this.asked('pause', input);
    if (this.pauseRefusal() !== undefined) return;
    this.state.paused = request;
    this.state.soakInterrupted = true;
    this.note(`paused by ${this.state.paused.by}: ${this.state.paused.reason}`);
  }

  /** Why a pause is refused now; undefined when it is not. */
  pauseRefusal(): string | undefined {
    if (this.state.paused !== undefined) return 'the migration is paused already.';
    if (this.state.rollback !== undefined) return 'a rollback is not paused.';
    return undefined;
  }

  /** Ends a pause, and tries a blocked step again. */
  resume(input: RequestInput | undefined): void {
    const { by } = this.asked('resume', input);
    if (this.state.paused !== undefined) {
      delete this.state.paused;
      this.note(`resumed by ${by}`);
    }
    if (this.state.blocked !== undefined) {
      this.note(`"${this.state.blocked.step}" is tried again, asked by ${by}`);
      delete this.state.blocked;
    }
  }

  approve(input: RequestInput | undefined): void {
    const { by, reason } = this.asked('approve', input);
    const late = this.#meantForAnother(input);
    if (late !== undefined) {
      this.note(`approval by ${by} does not count: ${late}`);
      return;
    }
    if (this.state.phase === 'noise') {
      const refusal = this.approveRefusal();
      if (refusal === undefined) this.state.approved.noise = true;
      this.note(
        refusal === undefined ? `${by} goes on as it is: ${reason}` : `approval by ${by} does not count: ${refusal}`,
      );
      return;
    }
    const what = this.state.phase === 'warm' || this.state.phase === 'decommission' ? 'decommission' : 'cutover';
    if (this.state.approved[what]) return;
    // Before there is anything to see there is nothing to approve.
    if (what === 'cutover' && (this.state.phase === 'preflight' || this.state.phase === 'dual-write')) {
      this.note(`approval by ${by} came too early and does not count: the cutover is approved from the soak on`);
      return;
    }
    this.state.approved[what] = true;
    this.note(`${what} approved by ${by}: ${reason}`);
  }

  /** Why an approval is refused now; undefined when it is not. */
  approveRefusal(input?: RequestInput): string | undefined {
    const late = this.#meantForAnother(input);
    if (late !== undefined) return late;
    const { phase, noise, blocked } = this.state;
    if (phase !== 'noise' || blocked?.step === NOISE_STEP) return undefined;
    if (blocked !== undefined) return `${blocked.step} is blocked: send resume once that is mended, or rollback.`;
    // Held up, as by a group without messages: whoever does not want to wait need not.
    if (noise !== undefined && noise.missing.length > 0) return undefined;
    return 'noise is being measured, and nothing holds that up: wait for what it finds.';
  }

  #meantForAnother(input: RequestInput | undefined): string | undefined {
    // Anybody can send anything.
    const { phase } = (typeof input === 'object' && (input as object | null) !== null ? input : {}) as {
      phase?: unknown;
    };
    if (phase === undefined || phase === this.state.phase) return undefined;
    return `it was meant for another phase, and this is ${this.state.phase}: look again.`;
  }

  /** Why the warm period cannot be made longer now; undefined when it can. */
  extendRefusal(input: unknown): string | undefined {
    const { phase, warm, decommissioned } = this.state;
    if (warm === undefined || (phase !== 'warm' && phase !== 'decommission') || decommissioned === true) {
      return `Kafka is not kept warm in phase ${phase}.`;
    }
    const byMs = durationOf(input);
    if (byMs === undefined || byMs < 1_000 || warm.remainingMs + byMs > YEAR) {
      return 'duration must be a time such as "3 days", from a second on, and no more than a year may be left.';
    }
    return undefined;
  }

  /** @returns what the one who asked is told. */
  extend(input: ExtendInput): string {
    const { warm, approved } = this.state;
    if (warm === undefined) return 'nothing is kept warm';
    warm.remainingMs += durationOf(input) ?? 0;
    // What was approved was a decommission by then.
    approved.decommission = false;
    const { by, reason } = this.asked('extend', input);
    this.note(`warm period made longer by ${by}, ${words(warm.remainingMs)} to go: ${reason}`);
    return `taken; ${words(warm.remainingMs)} to go. See that Kafka keeps its records for as long.`;
  }

  /** Why the warm period cannot be ended now; undefined when it can. */
  endEarlyRefusal(): string | undefined {
    const { phase, warm } = this.state;
    if (warm === undefined || phase !== 'warm' || warm.remainingMs === 0) {
      return `there is no warm period to end in phase ${phase}.`;
    }
    return undefined;
  }

  /** @returns what the one who asked is told. */
  endEarly(input: RequestInput | undefined): string {
    const { warm } = this.state;
    const { by, reason } = this.asked('endEarly', input);
    this.note(`warm period ended by ${by}, with ${words(warm?.remainingMs ?? 0)} to go: ${reason}`);
    if (warm !== undefined) warm.remainingMs = 0;
    return `taken; the decommission is next${this.plan.decommission === 'approval' ? ', once it is approved' : ''}`;
  }

  /** Why nothing can be acknowledged now; undefined when it can. */
  acknowledgeRefusal(): string | undefined {
    if (!this.isPast('ready') && this.state.rollback === undefined) return undefined;
    return `nothing is compared any more in phase ${this.state.phase}.`;
  }

  /** @returns what the one who asked is told. */
  acknowledge(input: AcknowledgeInput): string {
    this.asked('acknowledge', input);
    const { id, pattern, by, reason } = acknowledge(this.state, input, now());
    this.note(`${id}: ${by} acknowledges discrepancies of ${patternWords(pattern)}: ${reason}`);
    return `${id}: discrepancies of ${patternWords(pattern)} are counted apart within seconds from now`;
  }

  /** @returns what the one who asked is told. */
  revokeAcknowledgement(input: RevokeInput): string {
    this.asked('revokeAcknowledgement', input);
    revoke(this.state, input, now());
    this.note(`${input.id} revoked by ${input.by}: ${input.reason}`);
    return `${input.id} is revoked: its discrepancies set the soak back within seconds from now`;
  }

  /** Why a rollback is refused now; undefined when it is not. */
  rollbackRefusal(): string | undefined {
    if (this.state.decommissioned || this.state.phase === 'completed') {
      return 'Kafka writes have ended: Kafka lacks the messages published since, so there is no way back.';
    }
    if (this.state.phase === 'rolled-back') return 'the migration is rolled back already.';
    return undefined;
  }

  /** Takes the first request; later ones change nothing, but that one of them may allow force. */
  rollback(input: RequestInput | undefined): void {
    const request = this.asked('rollback', input);
    const refusal = this.rollbackRefusal();
    if (refusal !== undefined) {
      this.note(`rollback refused: ${refusal}`);
      return;
    }
    if (this.state.rollback !== undefined) {
      if (request.force !== true || this.state.rollback.force === true) return;
      this.state.rollback.force = true;
      // What it waits for may not be needed any more.
      delete this.state.blocked;
      this.note(`rollback by force, allowed by ${request.by}: ${request.reason}`);
      return;
    }
    this.state.rollback = request;
    delete this.state.rollbackRefused;
    this.note(`rollback asked by ${request.by}${request.force === true ? ', by force' : ''}: ${request.reason}`);
    this.#scope.cancel();
  }

  unknownSignal(name: string, input: unknown): void {
    this.asked(name, input);
    if (!this.state.unknownSignals.includes(name))
      this.state.unknownSignals = [...this.state.unknownSignals.slice(-9), name];
    this.note(`signal "${name}" is not known and did nothing; known: pause, resume, rollback, approve`);
  }

  // -- what phases use ----------------------------------------------------------------------------------------------

  /** Whether the playbook is past a phase, so that a run which continued as new goes on behind it. */
  isPast(phase: Phase): boolean {
    const order: readonly Phase[] = PHASES;
    return order.indexOf(this.state.phase) > order.indexOf(phase);
  }

  enter(phase: Phase): void {
    if (this.state.phase === phase) return;
    this.state.phase = phase;
    this.state.phaseSince = now();
    delete this.state.waiting;
    this.note(`phase ${phase}`);
    this.#attribute({ key: phaseKey, value: phase });
  }

  /** Puts the phase and ratio into the search attributes once it is known which ones the namespace has. */
  announce(): void {
    this.#attribute({ key: phaseKey, value: this.state.phase });
    this.#attribute({ key: ratioKey, value: this.state.ratio.acknowledged });
    this.refreshDetails();
  }

  note(text: string): void {
    this.state.log = [...this.state.log.slice(1 - LOG_ENTRIES), { at: now(), text }];
    log.info(text, { migration: this.name, phase: this.state.phase, epoch: this.state.epoch });
    this.refreshDetails();
  }

  /** Says, in the status and in a search attribute, what people should know though nothing is blocked. */
  callAttention(what: string): void {
    if (this.state.attention?.what === what) return;
    const since = now();
    this.state.attention = { what, since };
    this.#attribute({ key: attentionKey, value: `since ${since}: ${what}`.slice(0, KEYWORD_LENGTH) });
    this.note(`attention: ${what}`);
  }

  endAttention(): void {
    if (this.state.attention === undefined) return;
    delete this.state.attention;
    this.#attribute({ key: attentionKey, value: null });
    this.refreshDetails();
  }

  /** For a worker's metrics; a rehearsal is nothing to watch. */
  figures(): Figure[] {
    return this.plan.rehearsal ? [] : migrationFigures(this.plan, this.state, Date.now());
  }

  refreshDetails(): void {
    setCurrentDetails(statusMarkdown(this.plan, this.state));
    reportFigures(() => this.figures());
  }

  /** Says in the status what the run waits for while `wait` runs; what it waited for around it comes back after. */
  async waitingFor<T>(reason: string, wait: () => Promise<T>, until?: number): Promise<T> {
    const { waiting } = this.state;
    const around = waiting === undefined ? '' : `${waiting.for}: `;
    this.state.waiting = {
      for: `${around}${reason}`,
      ...(until === undefined ? {} : { until: new Date(until).toISOString() }),
    };
    this.refreshDetails();
    try {
      return await wait();
    } finally {
      if (waiting === undefined) delete this.state.waiting;
      else this.state.waiting = waiting;
    }
  }

  /**
   * Runs a step until it succeeds. A step that fails for good blocks the run: the status names the cause and what to
   * do, and the step is tried again on `resume`. A rollback ends the wait.
   */
  async step<T>(name: string, todo: string, run: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.waitingFor(name, run);
      } catch (error) {
        if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
        await this.block(name, causeOf(error), todo);
      }
    }
  }

  /**
   * Waits for a person. While publishers are held nobody may have to come first: the wait is then over by itself after
   * some seconds, in sight, and the step is tried again. `until` ends the wait too.
   */
  async block(step: string, cause: string, todo: string, until: () => boolean = () => false): Promise<void> {
    this.state.blocked = { step, cause, todo: `${todo} Then send the resume signal, or roll back.`, since: now() };
    this.#attribute({ key: blockedKey, value: true });
    this.note(`blocked in "${step}": ${cause}`);
    const unblocked = () => this.state.blocked === undefined || until();
    try {
      await this.audit.run();
      if (this.state.routing.fence === undefined) await condition(unblocked);
      else await condition(unblocked, RETRY_UNDER_FENCE_MS, { summary: `publishers are held: try "${step}" again` });
    } finally {
      // A rollback ends the wait too, and has its own steps to block on.
      delete this.state.blocked;
      this.#attribute({ key: blockedKey, value: false });
      this.refreshDetails();
    }
  }

  /** Waits while somebody has paused. Copies go on being proven, and foreign records forwarded. */
  async whilePaused(): Promise<void> {
    if (this.state.paused === undefined) return;
    // Begun anew: what it sees meanwhile is not part of what is judged.
    await this.audit.stop();
    await this.audit.run();
    await this.waitingFor('the resume signal', () => condition(() => this.state.paused === undefined));
  }

  /** Waits for a time in which paused time does not count, or until `until` says so. */
  async hold(durationMs: number, summary: string, until: () => boolean = () => false): Promise<void> {
    let remaining = durationMs;
    while (remaining > 0) {
      await this.whilePaused();
      await this.audit.run();
      const started = Date.now();
      const stopped = () => this.state.paused !== undefined || until();
      const wait = () => condition(stopped, remaining, { summary });
      await this.waitingFor(summary, wait, started + remaining);
      remaining -= Date.now() - started;
      if (until()) return;
    }
  }

  /** Runs a watch that ends early once `until` holds or somebody pauses. See `watchUntil`. */
  async watch<T>(run: () => Promise<T>, until: () => boolean = () => false): Promise<T | undefined> {
    return await this.watchUntil(run, () => this.state.paused !== undefined || until());
  }

  /**
   * Runs a watch that completes early with what it saw once `until` holds.
   *
   * @returns what it saw; undefined when it was ended between two attempts, so that nobody is there to tell.
   */
  async watchUntil<T>(run: () => Promise<T>, until: () => boolean): Promise<T | undefined> {
    const scope = new CancellationScope();
    let state: 'running' | 'ended early' | 'done' = 'running';
    const running = scope.run(run);
    const interruption = condition(() => state === 'done' || until()).then(
      () => {
        if (state === 'done') return;
        state = 'ended early';
        scope.cancel();
      },
      // The scope around it was cancelled, and the watch's with it.
      () => undefined,
    );
    const endedEarly = (): boolean => state === 'ended early';
    try {
      return await running;
    } catch (error) {
      if (!endedEarly() || CancellationScope.current().consideredCancelled) throw error;
      // Nobody asked for more than its end: it must not look like a cancel of the migration. An attempt that was lost
      // while it was being ended is not tried again, and says no more.
      if (isCancellation(error) || (error instanceof ActivityFailure && !failedClosed(error))) return undefined;
      throw error;
    } finally {
      state = 'done';
      await interruption;
    }
  }

  /**
   * The next routing state, under a new epoch. The epoch is used up whether or not it is written, so that a state
   * which was written without our knowing can never be mistaken for a later one.
   */
  #nextRouting(change: RoutingChange, reason: string): RoutingState {
    const merged = { ...this.state.routing, ...change };
    const set = Object.entries(merged).filter(([, value]) => value !== undefined);
    const content = Object.fromEntries(set) as RoutingContent;
    this.state.routing = content;
    this.state.epoch += 1;
    return {
      version: 1,
      migration: this.name,
      epoch: this.state.epoch,
      topics: this.plan.topics,
      groups: this.plan.groups,
      ...content,
      ...(this.plan.forward.length === 0 ? {} : { forward: this.plan.forward }),
      leaseMs: this.plan.lease,
      writtenAt: now(),
      reason: this.plan.rehearsal ? `rehearsal: ${reason}` : reason,
    };
  }

  /** Writes the next routing state as a step of its own. */
  async route(change: RoutingChange, reason: string): Promise<void> {
    await this.step(reason, 'Check that Kafka answers, and whether somebody wrote a routing state by hand.', () =>
      this.writeRouting(applyRouting, change, reason),
    );
  }

  /** Writes the next routing state with the given activity; a next try goes above what somebody else wrote. */
  async writeRouting(write: typeof applyRouting, change: RoutingChange, reason: string): Promise<void> {
    const before = this.state.routing;
    const routing = this.#nextRouting(change, reason);
    try {
      await write.executeWithOptions({ summary: `epoch ${routing.epoch}: ${reason}` }, [routing]);
    } catch (error) {
      this.state.routing = before;
      this.state.epoch = Math.max(this.state.epoch, supersedingEpoch(error));
      throw error;
    }
  }

  acknowledgeRatio(ratio: number): void {
    this.state.ratio.acknowledged = ratio;
    this.#attribute({ key: ratioKey, value: ratio });
    this.note(`ratio ${ratio} acknowledged`);
  }

  /** Starts a new run with the same state once the history has grown long. Call where nothing is under way. */
  async continueAsNewWhenLong(): Promise<void> {
    // Cancelled: what comes next is the rollback, not a new run.
    if (!workflowInfo().continueAsNewSuggested || this.#scope.consideredCancelled) return;
    await this.audit.stop();
    this.note('continues as new: the history has grown long');
    const carried: CarriedOver = { plan: this.plan, state: this.state };
    await continueAsNew<(input: unknown, carried: CarriedOver) => Promise<unknown>>(this.plan, carried);
  }

  #attribute(pair: SearchAttributeUpdatePair): void {
    // One that the namespace does not know would wedge the workflow task.
    if (this.state.searchAttributes.includes(pair.key.name)) upsertSearchAttributes([pair]);
  }
}

/** Time as the workflow sees it: deterministic. */
export function now(): string {
  return new Date().toISOString();
}

function durationOf(input: unknown): number | undefined {
  const { duration } = (typeof input === 'object' && input !== null ? input : {}) as { duration?: unknown };
  if (typeof duration === 'number') return Number.isFinite(duration) ? duration : undefined;
  return typeof duration === 'string' ? parseDuration(duration) : undefined;
}

/** Somebody's word as it is kept. */
export function toRequest(input: unknown): Request {
  // Anybody can send anything: only text is taken.
  const given: unknown = typeof input === 'string' ? { reason: input } : input;
  const { reason, by, force } = (typeof given === 'object' && given !== null ? given : {}) as Record<string, unknown>;
  return {
    reason: typeof reason === 'string' ? reason.slice(0, TEXT_LENGTH) : 'no reason given',
    by: typeof by === 'string' ? by.slice(0, TEXT_LENGTH) : 'signal',
    at: now(),
    ...(force === true ? { force } : {}),
  };
}
