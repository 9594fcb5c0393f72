import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { RoutingState, Span, TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type * as steps from '../src/activities/migration-activities.js';
import { addFigures, noAuditFigures } from '../src/workflows/audit-figures.js';
import { noFleetFigures } from '../src/workflows/ramp-gates.js';

const activityNames = [
  'preflight',
  'prepareTopics',
  'applyRouting',
  'awaitPublishers',
  'awaitConsumers',
  'legEnds',
  'observationEnds',
  'awaitDrained',
  'auditToOwlmq',
  'auditToKafka',
  'watchAudit',
  'watchFleet',
  'watchSoak',
  'watchWarm',
  'checkReadiness',
  'proveWayBack',
  'proveLeg',
  'moveOffsets',
  'restoreKafkaOffsets',
  'callHook',
] as const satisfies readonly (keyof steps.MigrationActivities)[];

/** How long an activity beats often, in real time, and how often then, ms. */
const OFTEN_FOR_MS = 1_000;
const SELDOM_MS = 250;

/** A clock that a test can skip: the time-skipping server's, or the wall's. */
export interface ModelClock {
  now(): Promise<number>;
  /** Resolves once the time is over, or at once when aborted. See `SkippedClock` for who follows. */
  sleep(durationMs: number, signal: AbortSignal, follows: boolean): Promise<void>;
}

/** A call that the model saw. */
export interface ModelCall {
  activity: string;
  at: number;
  argument: unknown;
}

/**
 * Both systems and the fleet as a model, for runs of the workflow whose days are skipped. Members obey each routing
 * state at once; `before` lets a test do something, or fail, ahead of any activity.
 */
export class FleetModel implements steps.MigrationActivities {
  /** Every step that there is. */
  static readonly activityNames = activityNames;
  readonly calls: ModelCall[] = [];
  readonly routing: RoutingState[] = [];
  findings: steps.Finding[] = [];
  /** Discrepancies found so far, by group. */
  discrepancies = 0;
  /** Those that are of a pattern acknowledged since, wherever the request names one. */
  acknowledgedDiscrepancies = 0;
  /** What a comparison says besides its figures, in its next report. */
  told: Pick<steps.SoakReport['comparison'], 'diagnosis' | 'notStored'> = {};
  stalled: string[] = [];
  /** What a group finds that is compared with itself: fields that differ, by how often; verdicts beside them. */
  noise: { fields?: Record<string, number>; counts?: Partial<steps.VerdictCounts> } = {};
  /** Why the comparison under way has to begin anew. */
  lost: string | undefined;
  messages = 0;
  owlmqAlive = true;
  /** What a try of the way back finds, and what a rollback by then would lose. */
  wayBack: Pick<steps.WayBackCheck, 'name' | 'ok' | 'takes'>[] = [
    { name: 'Kafka takes writes', ok: true, takes: 'repair' },
  ];
  lossAtMost = 0;
  /** What the watch finds in the way of a rollback while warm. */
  rollbackBlockers: string[] = [];
  /** What a look before the window finds besides. */
  readiness: steps.ReadinessCheck[] = [];
  restored: steps.RestoredOffsets | undefined = { redeliveriesAtMost: 12, positionsAt: null };
  /** Messages that every run of an audit finds; 0: there is no traffic. */
  traffic = 100;
  /** Those among them whose copy was missing. */
  missing = 0;
  /** Records of producers without the library that every run of an audit finds, by topic. */
  foreign: Record<string, number> = {};
  /** How many of them groups have consumed behind the fence before they read the drain, a partition. */
  overrun = 0;
  /** What receivers of webhooks answer. */
  hookAnswer: steps.HookAnswer = { accepted: false, status: 200, attempts: 1 };
  /** What publishers report; a slice whose figures break a limit ends after a minute. */
  fleet: Partial<steps.FleetFigures> | ((request: steps.WatchFleetRequest) => Partial<steps.FleetFigures>) = {};
  before: (call: ModelCall, nth: number) => Promise<void> | void = () => undefined;

  constructor(
    readonly clock: ModelClock,
    readonly searchAttributes: string[] = [],
  ) {}

  /** The activities, bound, with every call recorded. */
  get activities(): steps.MigrationActivities {
    const bound: Record<string, (argument: never) => Promise<unknown>> = {};
    for (const activity of activityNames) {
      bound[activity] = async (argument: never) => {
        const call = { activity, at: await this.clock.now(), argument };
        this.calls.push(call);
        await this.before(call, this.named(activity).length);
        return (this[activity] as (argument: never) => Promise<unknown>).call(this, argument);
      };
    }
    return bound as unknown as steps.MigrationActivities;
  }

  named(activity: string): ModelCall[] {
    return this.calls.filter((call) => call.activity === activity);
  }

  get lastRouting(): RoutingState | undefined {
    return this.routing.at(-1);
  }

  preflight({ topics }: steps.PreflightRequest): Promise<steps.PreflightReport> {
    return Promise.resolve({
      findings: this.findings,
      topics: Object.fromEntries(topics.map((topic) => [topic, 2])),
      epoch: 0,
      searchAttributes: this.searchAttributes,
    });
  }

  prepareTopics({ topics }: { topics: Record<string, number> }): Promise<{ created: string[] }> {
    return Promise.resolve({ created: Object.keys(topics) });
  }

  applyRouting(state: RoutingState): Promise<void> {
    const found = this.lastRouting;
    if (found !== undefined && found.epoch > state.epoch) {
      throw ApplicationFailure.nonRetryable(`epoch ${found.epoch} is there already`, 'EpochSuperseded');
    }
    this.routing.push(state);
    return Promise.resolve();
  }

  awaitPublishers(request: steps.AwaitPublishersRequest): Promise<steps.PublisherFleet>;
  awaitPublishers(): Promise<steps.PublisherFleet> {
    return Promise.resolve({
      acknowledged: 3,
      silent: [],
      longestHoldMs: 120,
      kafkaMessages: this.messages,
      owlmqMessages: this.messages,
      dropped: 0,
      backlog: 0,
      degraded: [],
    });
  }

  awaitConsumers({ groups }: steps.AwaitConsumersRequest): Promise<steps.ConsumerFleet> {
    return Promise.resolve({
      groups: Object.fromEntries(groups.map((group) => [group, { members: 2, applied: this.messages }])),
      silent: [],
    });
  }

  legEnds({ topics }: { leg: 'kafka' | 'owlmq'; topics: string[] }): Promise<TopicOffsets> {
    return Promise.resolve(Object.fromEntries(topics.map((topic) => [topic, [this.messages, this.messages]])));
  }

  observationEnds(): Promise<number[]> {
    return Promise.resolve([0, 0, 0, 0]);
  }

  awaitDrained({ leg, offsets }: steps.AwaitDrainedRequest): Promise<steps.Drained | TopicOffsets> {
    if (leg === 'owlmq') return Promise.resolve(offsets);
    const further = Object.entries(offsets).map(([topic, of]) => [topic, of.map((offset) => offset + this.overrun)]);
    return Promise.resolve(Object.fromEntries(further) as TopicOffsets);
  }

  auditToOwlmq(request: Omit<steps.AuditRequest, 'until'>): Promise<steps.AuditOutcome> {
    this.messages += this.traffic;
    const ratio = request.forward?.ratio ?? 0;
    const topics = request.forward?.topics ?? [];
    const forwarded = Object.entries(this.foreign).map(([topic, count]) => [
      topic,
      topics.includes(topic) ? Math.round(count * ratio) : 0,
    ]);
    return Promise.resolve(this.#audited(request.checkpoint, Object.fromEntries(forwarded) as Record<string, number>));
  }

  auditToKafka({ checkpoint }: Pick<steps.MirrorAuditRequest, 'checkpoint'>): Promise<steps.AuditOutcome> {
    return Promise.resolve(this.#audited(checkpoint, this.foreign));
  }

  async watchAudit(request: steps.WatchAuditRequest): Promise<steps.WatchAuditReport> {
    const alarmed = request.alarm !== undefined && this.missing > request.alarm.share * this.traffic;
    await this.slice(alarmed ? 60_000 : request.sliceMs, true);
    return { ...(await this.auditToOwlmq(request)), alarmed };
  }

  async watchFleet(request: steps.WatchFleetRequest): Promise<steps.FleetFigures> {
    const reported = typeof this.fleet === 'function' ? this.fleet(request) : this.fleet;
    const figures = { ...noFleetFigures, looks: 1, living: 3, copies: 100, latencyMs: 5, ...reported };
    const { limits, sliceMs } = request;
    const broken =
      figures.behind.length > 0 ||
      figures.cutOff.length > 0 ||
      figures.backlog > limits.backlog ||
      (figures.latencyMs ?? 0) > limits.latencyMs;
    await this.slice(broken ? Math.min(sliceMs, 60_000) : sliceMs);
    return figures;
  }

  #audited(checkpoint: unknown, forwarded: Record<string, number>): steps.AuditOutcome {
    const before = (checkpoint as { figures: steps.AuditFigures } | undefined)?.figures ?? noAuditFigures;
    const figures = addFigures(before, {
      ...noAuditFigures,
      kafkaMessages: this.traffic,
      owlmqMessages: this.traffic,
      missing: this.missing,
      repaired: this.missing,
      foreign: this.foreign,
      forwarded,
    });
    return { checkpoint: { figures }, figures, checked: this.traffic, foreignAgoMs: {} };
  }

  async watchSoak(request: steps.WatchSoakRequest): Promise<steps.SoakReport> {
    const { sliceMs, groups, comparison, countFields, partitions = [0] } = request;
    const began = await this.clock.now();
    await this.slice(sliceMs);
    const comparedUpTo = await this.clock.now();
    const earlier = (comparison as Span[] | undefined) ?? [];
    const spans: Span[] = this.stalled.length > 0 ? earlier : [...earlier, [began, comparedUpTo]];
    // All is in the first part, and the others are alive.
    const first = partitions.includes(0);
    const matched = await this.compared(request);
    const { fields = {}, counts = {} } = countFields === true && first ? this.noise : {};
    return {
      comparison: {
        ...this.told,
        checkpoint: spans,
        watched: {
          lookedAt: comparedUpTo,
          alive: spans,
          compared: Object.fromEntries(groups.map((group) => [group, first ? spans : []])),
        },
        ...(this.lost === undefined ? {} : { lost: this.lost }),
        groups: Object.fromEntries(
          groups.map((group) => [
            group,
            {
              counts: {
                matched: first ? (matched[group] ?? 0) : 0,
                missing: 0,
                unexpected: 0,
                different: first ? this.discrepancies : 0,
                reordered: 0,
                failedLive: 0,
                failedShadow: 0,
                ignored: 0,
                acknowledged: this.acknowledgedDiscrepancies,
                ...counts,
              },
              ...(countFields === true ? { differing: { fields, unnamed: 0, more: 0 } } : {}),
              comparedUpTo,
              stalled: this.stalled,
            },
          ]),
        ),
        samples:
          !first || this.discrepancies === 0
            ? []
            : [{ group: groups[0] ?? '', verdict: 'different', topic: 'orders', id: 'id-1', fields: ['/total'] }],
      },
    };
  }

  /** Messages of each group that both sides have handled, and alike, since they were compared. */
  protected compared({ groups }: steps.WatchSoakRequest): Promise<Record<string, number>> {
    this.messages += 10_000;
    return Promise.resolve(Object.fromEntries(groups.map((group) => [group, this.messages])));
  }

  async watchWarm({ sliceMs, groups, checkpoint }: steps.WatchWarmRequest): Promise<steps.WarmReport> {
    await this.slice(sliceMs);
    const at = new Date(await this.clock.now()).toISOString();
    return {
      audit: await this.auditToKafka({ checkpoint }),
      positions: groups.flatMap((group) =>
        [7, 8].map((offset, partition) => ({ group, topic: 'orders', partition, offset })),
      ),
      positionsAt: at,
      rollbackBlockers: this.rollbackBlockers,
    };
  }

  checkReadiness(request: steps.ReadinessRequest): Promise<steps.ReadinessCheck[]>;
  checkReadiness(): Promise<steps.ReadinessCheck[]> {
    return Promise.resolve([{ name: 'lag', ok: true, detail: '0 records', todo: '' }, ...this.readiness]);
  }

  proveWayBack(request: steps.WayBackRequest): Promise<steps.WayBack>;
  proveWayBack(): Promise<steps.WayBack> {
    const checks = this.wayBack.map((check) => ({ todo: 'Mend it.', detail: check.name, ...check }));
    return Promise.resolve({ checks, owlmqAnswers: this.owlmqAlive, lossAtMost: this.lossAtMost, redeliveries: 0 });
  }

  proveLeg({ leg }: { migration: string; leg: 'kafka' | 'owlmq' }): Promise<{ roundTripMs: number }> {
    if (leg === 'owlmq' && !this.owlmqAlive) {
      throw ApplicationFailure.nonRetryable('OwlMQ does not answer', 'OwlmqUnreachable');
    }
    return Promise.resolve({ roundTripMs: 1 });
  }

  moveOffsets({ groups }: steps.MoveOffsetsRequest): Promise<steps.OffsetMove[]> {
    return Promise.resolve(groups.map((group) => ({ group, exact: 2, bounded: 0, redeliveries: 0 })));
  }

  restoreKafkaOffsets(request: steps.RestoreKafkaOffsetsRequest): Promise<steps.RestoredOffsets | undefined>;
  restoreKafkaOffsets(): Promise<steps.RestoredOffsets | undefined> {
    return Promise.resolve(this.restored);
  }

  callHook(): Promise<steps.HookAnswer> {
    return Promise.resolve(this.hookAnswer);
  }

  /** A slice of a watch: over when its time is, or when it is cancelled. */
  protected async slice(durationMs: number, follows = false): Promise<void> {
    const { cancellationSignal } = Context.current();
    // A cancellation comes with the answer to a heartbeat. The test server keeps each of them with the activity, and
    // cannot send the errors that list them all: where much real time passes there must not be hundreds.
    const began = performance.now();
    let beatAt = began;
    const beat = setInterval(() => {
      const now = performance.now();
      if (now - began > OFTEN_FOR_MS && now - beatAt < SELDOM_MS) return;
      beatAt = now;
      Context.current().heartbeat();
    }, 20);
    try {
      await this.clock.sleep(durationMs, cancellationSignal, follows);
    } finally {
      clearInterval(beat);
    }
  }
}
