import {
  ActivityFailure,
  CancellationScope,
  ChildWorkflowCancellationType,
  condition,
  isCancellation,
  log,
  ParentClosePolicy,
  proxyActivities,
  setCurrentDetails,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError, type SearchAttributeUpdatePair } from '@temporalio/common';
import type { MigrationInput, PortfolioInput, PortfolioPlan } from '@owlmq/kafka-bridge/playbook';
import type { MigrationStanding, PortfolioActivities } from '../../activities/portfolio-activities.js';
import { causeOf } from '../failures.js';
import type { RequestInput } from '../messages.js';
import { attentionKey, blockedKey, KEYWORD_LENGTH, now, toRequest } from '../migration.js';
import type { migrateKafkaToOwlmq } from '../playbook.js';
import type { Member, PortfolioState } from './portfolio-state.js';
import { portfolioMarkdown, portfolioStatus } from './portfolio-status.js';
import { hasFailed, isOver, nextMembers } from './waves.js';

const HOUR = 3_600_000;
/** Long, so that weeks of watching leave a short history. */
const SLICE_MS = 6 * HOUR;
/** Until it is looked again, after a look that failed. */
const AGAIN_MS = 60_000;
const LOG_ENTRIES = 60;

/** A few calls to Temporal itself; attempts ride out its restart, then the portfolio says so and tries again. */
const { findMigrations } = proxyActivities<PortfolioActivities>({
  startToCloseTimeout: '5 minutes',
  retry: { initialInterval: '500 milliseconds', maximumInterval: '15 seconds', maximumAttempts: 8 },
});

/** Runs for a slice of time. Ended at once when somebody sends something: what it knows is asked again. */
const { watchMigrations } = proxyActivities<PortfolioActivities>({
  startToCloseTimeout: '25 hours',
  heartbeatTimeout: '30 seconds',
  cancellationType: 'TRY_CANCEL',
  retry: { initialInterval: '1 second', maximumInterval: '1 minute', maximumAttempts: 15 },
});

/** One run of a portfolio: its state, and what changes it. The order is in `migrate-portfolio.ts`. */
export class Portfolio {
  /** Somebody has sent something since it was last looked at. */
  #asked = false;
  /** What is being started in this moment. */
  #starting: string | undefined;

  constructor(
    readonly plan: PortfolioPlan,
    /** As the user wrote it: so migrations are started with it. */
    private readonly input: PortfolioInput,
    readonly state: PortfolioState,
  ) {}

  get isOver(): boolean {
    return this.state.members.every(isOver);
  }

  // -- what people ask for ------------------------------------------------------------------------------------------

  pause(input: RequestInput | undefined): void {
    const request = toRequest(input);
    this.state.paused ??= request;
    this.#takeWord(`paused by ${request.by}: ${request.reason}`);
  }

  /** Ends a pause and a stop; what failed is tried again. */
  resume(input: RequestInput | undefined): void {
    const { by } = toRequest(input);
    delete this.state.paused;
    delete this.state.stopped;
    for (const member of this.state.members.filter(hasFailed)) this.#replace(member, { state: 'waiting' });
    this.#takeWord(`resumed by ${by}`);
  }

  /** Why a migration cannot be left out; undefined when it can. */
  skipRefusal(input: unknown): string | undefined {
    const { id } = (typeof input === 'object' && input !== null ? input : {}) as { id?: unknown };
    const member = this.state.members.find((one) => one.id === id);
    if (member === undefined) return 'id must be that of a migration of this portfolio.';
    if (member.id === this.#starting) return `${member.id} is being started. Roll it back by its own signal.`;
    if (member.state === 'waiting' || hasFailed(member)) return undefined;
    return `${member.id} is ${member.state}. Roll it back by its own signal first.`;
  }

  /** @returns what the one who asked is told. */
  skip(input: { id: string; reason?: string; by?: string }): string {
    const member = this.state.members.find(({ id }) => id === input.id);
    const { by, reason } = toRequest(input);
    if (member !== undefined) this.#replace(member, { state: 'left-out', why: `left out by ${by}: ${reason}` });
    if (this.state.stopped?.id === input.id) delete this.state.stopped;
    this.#takeWord(`${input.id} left out by ${by}: ${reason}`);
    return `taken; ${portfolioStatus(this.plan, this.state).next}`;
  }

  unknownSignal(name: string): void {
    const { unknownSignals } = this.state;
    if (!unknownSignals.includes(name)) this.state.unknownSignals = [...unknownSignals.slice(-9), name];
    this.note(`signal "${name}" is not known and did nothing; known: pause, resume`);
  }

  // -- what the run does --------------------------------------------------------------------------------------------

  /** Begins what there is room for; what runs already, or is over, is taken as it is. */
  async beginNext(): Promise<void> {
    const next = nextMembers(this.plan, this.state);
    if (next.length === 0) return;
    const ids = next.map(({ id }) => id);
    const found = await this.#looked(() =>
      findMigrations.executeWithOptions({ summary: `is ${ids.join(', ')} under way?`.slice(0, 300) }, [{ ids }]),
    );
    if (found === undefined) return;
    this.state.searchAttributes = found.searchAttributes;
    for (const standing of found.migrations) {
      // Somebody may have paused it while an earlier one was started.
      if (!nextMembers(this.plan, this.state).some(({ id }) => id === standing.id)) continue;
      if (standing.state === 'running' || standing.state === 'completed' || standing.state === 'taken') {
        this.#take(standing, true);
      } else {
        await this.#start(standing.id);
      }
    }
  }

  /** Waits until a migration is at something else, or somebody sends something. */
  async watch(): Promise<void> {
    const known = this.state.members.flatMap(standingOf);
    const asked = () => this.#asked;
    if (known.length === 0) {
      // Of a first look that failed: tried again by itself.
      if (this.state.trouble === undefined) await condition(asked);
      else await condition(asked, AGAIN_MS, { summary: 'look at the migrations again' });
    } else if (!asked()) {
      const standings = await this.#looked(() => this.#watched(known));
      for (const standing of standings ?? []) this.#take(standing, false);
    }
    this.#asked = false;
  }

  note(text: string): void {
    this.state.log = [...this.state.log.slice(1 - LOG_ENTRIES), { at: now(), text }];
    log.info(text, { portfolio: workflowInfo().workflowId });
    this.show();
  }

  /** Puts the state where the UI and searches find it. */
  show(): void {
    setCurrentDetails(portfolioMarkdown(this.plan, this.state));
  }

  /** @returns undefined when somebody sent something meanwhile, or nobody could look. */
  async #looked<T>(look: () => Promise<T>): Promise<T | undefined> {
    try {
      const seen = await look();
      delete this.state.trouble;
      return seen;
    } catch (error) {
      if (isCancellation(error) && this.#asked && !CancellationScope.current().consideredCancelled) return undefined;
      if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
      this.state.trouble = causeOf(error);
      this.note(`migrations could not be looked at: ${this.state.trouble}`);
      return undefined;
    }
  }

  async #watched(known: MigrationStanding[]): Promise<MigrationStanding[]> {
    const scope = new CancellationScope();
    let done = false;
    const interruption = condition(() => done || this.#asked).then(
      () => {
        if (!done) scope.cancel();
      },
      // The run was cancelled, and the watch with it.
      () => undefined,
    );
    try {
      const sliceMs = this.state.trouble === undefined ? SLICE_MS : AGAIN_MS;
      const summary = `${known.length} under way: ${portfolioStatus(this.plan, this.state).next}`.slice(0, 300);
      return await scope.run(() => watchMigrations.executeWithOptions({ summary }, [{ known, sliceMs }]));
    } finally {
      done = true;
      await interruption;
    }
  }

  async #start(id: string): Promise<void> {
    const input = this.#inputOf(id);
    const { workflowId } = workflowInfo();
    this.#starting = id;
    try {
      await startChild<typeof migrateKafkaToOwlmq>('migrateKafkaToOwlmq', {
        workflowId: id,
        args: [input],
        // A migration must not end, nor go back, because its portfolio does.
        parentClosePolicy: ParentClosePolicy.ABANDON,
        cancellationType: ChildWorkflowCancellationType.ABANDON,
        staticSummary: `${input.topics.join(', ')}, of the portfolio ${workflowId}`.slice(0, 200),
      });
      this.#take({ id, state: 'running', phase: 'preflight' }, false);
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      // Started by somebody else in this moment.
      this.#take({ id, state: 'running', phase: 'preflight' }, true);
    } finally {
      this.#starting = undefined;
    }
  }

  #inputOf(id: string): MigrationInput {
    const own = this.input.waves.flatMap(({ migrations }) => migrations).find((migration) => migration.id === id);
    if (own === undefined) throw new TypeError(`there is no migration ${id}`);
    return own.input;
  }

  #take(standing: MigrationStanding, takenOver: boolean): void {
    const { id, state, phase, why } = standing;
    const member = this.state.members.find((one) => one.id === id);
    if (member === undefined) return;
    const begins = member.state === 'waiting';
    // One that nobody finds any more was deleted with its history.
    const next =
      state === 'absent'
        ? ({ state: 'failed', why: 'its run is no longer known to Temporal' } as const)
        : { state, ...(phase === undefined ? {} : { phase }), ...(why === undefined ? {} : { why }) };
    this.#replace(member, {
      ...next,
      since: begins ? now() : (member.since ?? now()),
      ...(begins ? (takenOver ? { takenOver } : {}) : member.takenOver === true ? { takenOver: true } : {}),
    });
    if (begins) this.note(takenOver ? `${id} is taken over: ${state}, ${phase ?? ''}` : `${id} has begun`);
    else if (state !== member.state || why !== member.why)
      this.note(`${id}: ${state}${why === undefined ? '' : `, ${why}`}`);
    this.#stopAtFailure();
    this.show();
  }

  #replace(member: Member, by: Omit<Member, 'id' | 'wave'>): void {
    const index = this.state.members.indexOf(member);
    this.state.members[index] = { id: member.id, wave: member.wave, ...by };
  }

  #stopAtFailure(): void {
    const failed = this.state.members.find(hasFailed);
    if (failed !== undefined && this.state.stopped === undefined) {
      this.state.stopped = { id: failed.id, why: failed.why ?? failed.state, since: now() };
      this.note(`stopped: ${failed.id} ${this.state.stopped.why}`);
    }
    this.#attribute();
  }

  #takeWord(text: string): void {
    this.#asked = true;
    this.#stopAtFailure();
    this.note(text);
  }

  /** Found by the same searches as a migration that is blocked. */
  #attribute(): void {
    const { stopped, searchAttributes } = this.state;
    const pairs: SearchAttributeUpdatePair[] = [
      { key: blockedKey, value: stopped !== undefined },
      {
        key: attentionKey,
        value: stopped === undefined ? null : `${stopped.id}: ${stopped.why}`.slice(0, KEYWORD_LENGTH),
      },
    ];
    const known = pairs.filter(({ key }) => searchAttributes.includes(key.name));
    const told = JSON.stringify(known);
    if (known.length === 0 || told === this.#told) return;
    this.#told = told;
    upsertSearchAttributes(known);
  }

  #told: string | undefined;
}

/** What a watch compares with: of a member that is under way. */
function standingOf({ id, state, phase, why }: Member): MigrationStanding[] {
  if (state !== 'running') return [];
  return [{ id, state, ...(phase === undefined ? {} : { phase }), ...(why === undefined ? {} : { why }) }];
}
