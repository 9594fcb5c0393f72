import { setTimeout as delay } from 'node:timers/promises';
import type { RoutingState, TopicOffsets } from '@owlmq/kafka-bridge/operations';
import { clockMs } from '../../../demo/event-log.js';
import { AuditTimeoutError, type AuditProcess } from '../audit/audit-process.js';
import type { Pace } from '../pace.js';
import { Random } from '../../random.js';
import type { RunLog } from '../../run-log.js';
import type { FleetSteps } from './fleet-steps.js';
import type { RouteHistory, StandingFence } from './route-history.js';

export interface ControllerOptions {
  readonly migration: string;
  readonly topics: readonly string[];
  readonly partitions: number;
  readonly seed: number;
  readonly pace: Pace;
  readonly steps: FleetSteps;
  /** Without one, the fleet is switched over and back with nothing proven. */
  readonly audit: AuditProcess | undefined;
  readonly history: RouteHistory;
  readonly log: RunLog;
  /** Ends the run at once. */
  readonly signal: AbortSignal;
}

/** The fleet could not be led on at all, for longer than any fault lasts. */
class ControlLostError extends Error {
  override readonly name = 'ControlLostError';
}

/** Longer than a publisher goes on trying to write its Kafka copy. */
const MIRROR_GRACE_MS = 7_000;
const FORWARD_GRACE_MS = 1_500;
/** Faults end; a step that must succeed is tried for longer than any of them. */
const MUST_MS = 120_000;
const RETRY_MS = 250;
/** After so many the ramp begins anew. */
const CUTOVER_ATTEMPTS = 4;

/**
 * Leads the publishers through migrations as the workflow does: the ratio in steps, fences, the cutover with its audit, a
 * warm time with the audit of both legs, the way back; again and again, at seeded times.
 */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #random: Random;
  readonly #stop = new AbortController();
  #state: RoutingState;
  /** Cuts the present wait short, for a fence. */
  #hurry = new AbortController();

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, 'control');
    this.#state = {
      version: 1,
      migration: options.migration,
      epoch: 0,
      topics: [...options.topics],
      groups: [],
      ratio: 0,
      primary: 'kafka',
      mirror: true,
      live: 'kafka',
      shadow: 'off',
      leaseMs: options.pace.leaseMs,
      writtenAt: '',
      reason: '',
    };
  }

  get primary(): 'kafka' | 'owlmq' {
    return this.#state.primary;
  }

  /** Whether copies are intended now: of all messages or of some. */
  get copying(): boolean {
    return this.#state.primary === 'owlmq' || this.#state.ratio > 0;
  }

  /** The first state, before any publisher starts. */
  async begin(): Promise<void> {
    await this.#write({}, 'nothing is copied');
    const nothing = this.#options.topics.map((topic): [string, number[]] => [
      topic,
      Array.from({ length: this.#options.partitions }, () => 0),
    ]);
    this.#auditForward(Object.fromEntries(nothing));
  }

  /** Migrations and their undoing until `stop()`; ends at a point where no fence stands. */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#ramp();
      let over = false;
      for (let attempt = 0; !over && !this.#stopping && attempt < CUTOVER_ATTEMPTS; attempt++) {
        over = await this.#tried('cutover', () => this.#cutOver());
        if (!over) await this.#dwell(this.#options.pace.rampMs);
      }
      if (over) {
        await this.#dwell(this.#options.pace.warmMs);
        while (!this.#stopping && !(await this.#tried('rollback', () => this.#rollBack()))) {
          await this.#dwell(this.#options.pace.rampMs);
        }
      }
    }
  }

  /** Ends `run()` at its next step. */
  stop(): void {
    this.#stop.abort();
  }

  /** Has a fence stand as soon as the step in hand is done: a switch, or a pause of the fleet. */
  fenceSoon(): void {
    this.#hurry.abort();
  }

  /** With no publisher left and every fault healed: a last fence, and everything proven up to it. */
  async finish(): Promise<void> {
    const fence = await this.#fence('the end', MUST_MS);
    await this.#prove(this.#state.primary === 'kafka' ? fence.kafka : fence.owlmq, MUST_MS);
  }

  async #ramp(): Promise<void> {
    const { pace } = this.#options;
    for (const ratio of [0.1, 0.4, 0.7, 1]) {
      if (this.#stopping) return;
      await this.#write({ ratio }, `ratio ${ratio}`);
      await this.#dwell(pace.rampMs);
      // A fence that nothing follows: calls wait and go on.
      if (this.#random.share() < 0.25) await this.#tried('fence', () => this.#pauseFleet());
    }
  }

  async #pauseFleet(): Promise<void> {
    await this.#fence('a pause', this.#options.pace.windowMs);
    await this.#write({ fence: undefined }, 'the pause is over');
  }

  async #cutOver(): Promise<void> {
    const { steps, audit, history, pace, log } = this.#options;
    await audit?.catchUp(await steps.ends('kafka', pace.windowMs), pace.windowMs);
    const { kafka } = await this.#fence('cutover', pace.windowMs);
    await this.#prove(kafka, pace.windowMs);
    const owlmq = await steps.ends('owlmq', pace.windowMs);
    await this.#write({ primary: 'owlmq', live: 'owlmq', fence: undefined }, 'OwlMQ is primary');
    audit?.begin({ direction: 'mirror', from: { kafka, owlmq }, graceMs: MIRROR_GRACE_MS });
    history.cutovers++;
    log.write('cutover');
  }

  async #rollBack(): Promise<void> {
    const { steps, audit, history, pace, log } = this.#options;
    await audit?.catchUp(await steps.ends('owlmq', pace.windowMs), pace.windowMs + MIRROR_GRACE_MS);
    const fence = await this.#fence('rollback', pace.windowMs);
    await this.#prove(fence.owlmq, pace.windowMs);
    const proven = audit?.progress?.mirror?.kafka ?? fence.kafka;
    await this.#write({ primary: 'kafka', live: 'kafka', ratio: 0, fence: undefined }, 'Kafka is primary again');
    this.#auditForward(proven);
    history.rollbacks++;
    log.write('rollback');
    await this.#dwell(pace.rampMs);
  }

  #auditForward(kafka: TopicOffsets): void {
    this.#options.audit?.begin({ direction: 'forward', from: { kafka, owlmq: {} }, graceMs: FORWARD_GRACE_MS });
  }

  async #prove(until: TopicOffsets, timeoutMs: number): Promise<void> {
    await this.#options.audit?.prove(until, timeoutMs);
  }

  /** Holds the fleet, waits until nobody can write, and notes how far both legs are. */
  async #fence(reason: string, timeoutMs: number): Promise<StandingFence> {
    const { steps, history, log } = this.#options;
    const begun = performance.now();
    await this.#write({ fence: { reason } }, `fence: ${reason}`);
    const { epoch } = this.#state;
    const fleet = await steps.awaitPublishers(epoch, true, timeoutMs);
    const stoodAt = clockMs();
    const [kafka, owlmq] = [await steps.ends('kafka', timeoutMs), await steps.ends('owlmq', timeoutMs)];
    const fence: StandingFence = {
      ...{ epoch, stoodAt, kafka, owlmq, acknowledged: fleet.acknowledged, silent: fleet.silent },
      ...{ waitedMs: Math.round(performance.now() - begun), longestHoldMs: fleet.longestHoldMs },
    };
    history.fences.push(fence);
    log.write('fence stands', { ...fence });
    return fence;
  }

  /** Does it, or else takes its fence away, as the workflow cancels a window. */
  async #tried(what: string, work: () => Promise<void>): Promise<boolean> {
    const { signal, log, history } = this.#options;
    try {
      await work();
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ControlLostError) throw error;
      history.cancelled++;
      const reason = error instanceof Error ? error.message : String(error);
      log.write('cancelled', { step: what, reason, late: error instanceof AuditTimeoutError });
      if (this.#state.fence !== undefined) await this.#write({ fence: undefined }, `${what} cancelled`);
      return false;
    }
  }

  /** Somebody may have read a state whose write failed, so that it counts as written; it is repeated until it is. */
  async #write(change: Partial<RoutingState>, reason: string): Promise<void> {
    const { history, steps, log, signal } = this.#options;
    const next = {
      ...this.#state,
      ...change,
      epoch: this.#state.epoch + 1,
      writtenAt: new Date().toISOString(),
      reason,
    };
    const { fence, ...unfenced } = next;
    const state: RoutingState = fence === undefined ? unfenced : next;
    history.add(state);
    this.#state = state;
    const { epoch, ratio, primary } = state;
    log.write('route', { epoch, ratio, primary, reason });
    const deadline = performance.now() + MUST_MS;
    for (;;) {
      try {
        await steps.write(state, 10_000);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (performance.now() > deadline) {
          throw new ControlLostError(`The routing state could not be written for ${MUST_MS} ms.`, { cause: error });
        }
        await delay(RETRY_MS, undefined, { signal });
      }
    }
  }

  get #stopping(): boolean {
    return this.#stop.signal.aborted;
  }

  async #dwell(range: readonly [number, number]): Promise<void> {
    const { signal } = this.#options;
    const ms = this.#random.within(range);
    const hurry = this.#hurry.signal;
    try {
      await delay(ms, undefined, { signal: AbortSignal.any([signal, this.#stop.signal, hurry]) });
    } catch (error) {
      signal.throwIfAborted();
      if (!this.#stopping && !hurry.aborted) throw error;
    }
    if (!hurry.aborted) return;
    this.#hurry = new AbortController();
    // Half of the time the next step does: in the warm time that is the way back.
    if (this.#state.primary === 'kafka' || this.#random.share() < 0.5)
      await this.#tried('fence', () => this.#pauseFleet());
  }
}
