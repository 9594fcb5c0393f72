import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { RoutingState, TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type * as steps from '../src/activities/migration-activities.js';
import { hoursChecks } from '../src/activities/readiness.js';
import { addFigures, figuresSince, noAuditFigures } from '../src/workflows/audit-figures.js';
import { noFleetFigures } from '../src/workflows/ramp-gates.js';
import { Random } from '../chaos/random.js';
import { FleetModel, type ModelClock } from './fleet-model.js';
import { auditBothWays, auditToOwlmq } from './state/audits.js';
import type { Consumer, Publisher } from './state/members.js';
import type { Leg } from './state/partition.js';
import { nameOf, type ModelSystems } from './state/systems.js';
import { translate, type Translated } from './state/translation.js';

/** How long calls take that are no wait, ms. */
const CALL_MS = [4, 30] as const;
const MOVE_MS = [60, 240] as const;
const LATENCY_MS = [5, 40] as const;
/** What an attempt may wait for the fleet before it fails, ms: less than it may take. */
const WAIT_MS = 4 * 60_000;

interface ForwardCheckpoint {
  positions: TopicOffsets;
  figures: steps.AuditFigures;
}

interface MirrorCheckpoint {
  kafka: TopicOffsets;
  owlmq: TopicOffsets;
  figures: steps.AuditFigures;
}

/**
 * The steps of a migration on systems that are a state in memory: every figure that a step reports follows from the
 * routing states that were written, from what publishers and consumers have done under them, and from the time that has
 * passed.
 */
export class StateModel extends FleetModel {
  /** Messages that were said to come again, at most. */
  toldRedeliveries = 0;
  /** Acknowledged messages that Kafka lacked when its writes ended. */
  lackedAtDecommission: number | undefined;
  readonly #random: Random;
  /** Kafka positions of groups as they were noted last, and when, Unix ms. */
  #noted: { positions: Map<string, Map<string, number>>; at: number } | undefined;

  constructor(
    clock: ModelClock,
    readonly systems: ModelSystems,
    searchAttributes: string[] = [],
  ) {
    super(clock, searchAttributes);
    this.#random = new Random(systems.options.seed, 'steps');
  }

  override async preflight({ topics }: steps.PreflightRequest): Promise<steps.PreflightReport> {
    await this.#take(CALL_MS);
    return {
      findings: this.findings,
      topics: Object.fromEntries(topics.map((topic) => [topic, this.systems.options.partitionsEach])),
      epoch: this.lastRouting?.epoch ?? 0,
      searchAttributes: this.searchAttributes,
    };
  }

  override async applyRouting(state: RoutingState): Promise<void> {
    await this.#take(CALL_MS);
    if (!state.mirror) this.lackedAtDecommission = this.systems.count().notInKafka;
    await super.applyRouting(state);
    this.systems.write(state);
  }

  override async awaitPublishers({ epoch, fenced }: steps.AwaitPublishersRequest): Promise<steps.PublisherFleet> {
    const { publishers } = this.systems;
    return await this.#when(() => {
      const reporting = publishers.filter((publisher) => !this.#isCountedOut(publisher));
      const pending = reporting.filter((publisher) => publisher.epoch < epoch || (fenced && !publisher.fenced));
      if (pending.length > 0) return { waitFor: pending.map(({ name }) => name) };
      const sum = (leg: Leg): number => publishers.reduce((total, { messages }) => total + messages[leg], 0);
      return {
        ready: {
          acknowledged: reporting.length,
          silent: publishers.filter((publisher) => this.#isCountedOut(publisher)).map(({ name }) => name),
          longestHoldMs: Math.max(0, ...reporting.map((publisher) => this.#longestHold(publisher))),
          kafkaMessages: sum('kafka'),
          owlmqMessages: sum('owlmq'),
          dropped: publishers.reduce((total, { dropped }) => total + dropped, 0),
          backlog: 0,
          degraded: [],
        },
      };
    });
  }

  override async awaitConsumers({ epoch, groups, state }: steps.AwaitConsumersRequest): Promise<steps.ConsumerFleet> {
    return await this.#when(() => {
      const reporting = this.systems.consumers.filter(
        (member) => groups.includes(member.group) && !this.#isCountedOut(member),
      );
      const pending = reporting.filter((member) => member.epoch < epoch || this.#stateOf(member) !== state);
      if (pending.length > 0) return { waitFor: pending.map(({ name }) => name) };
      const members = (group: string) => reporting.filter((member) => member.group === group).length;
      return {
        ready: {
          groups: Object.fromEntries(groups.map((group) => [group, { members: members(group), applied: 0 }])),
          silent: [],
        },
      };
    });
  }

  override async legEnds({ leg, topics }: { leg: Leg; topics: string[] }): Promise<TopicOffsets> {
    await this.#take(CALL_MS);
    this.#reach(leg);
    return this.systems.ends(leg, topics);
  }

  override async observationEnds(): Promise<number[]> {
    await this.#take(CALL_MS);
    return [0, 0, 0, 0];
  }

  override async awaitDrained({ leg, groups, offsets }: steps.AwaitDrainedRequest): Promise<steps.Drained> {
    return await this.#when(() => {
      this.#reach(leg);
      const behind: string[] = [];
      const furthest = structuredClone(offsets);
      for (const [topic, wanted] of Object.entries(offsets)) {
        for (const [index, offset] of wanted.entries()) {
          const partition = this.systems.partition(topic, index);
          for (const group of groups) {
            const committed = this.systems.committed(group, leg, partition) ?? 0;
            if (committed < offset) behind.push(`${group} on ${nameOf(topic, index)}: ${committed} of ${offset}`);
            const highest = furthest[topic];
            if (highest !== undefined) highest[index] = Math.max(highest[index] ?? 0, committed);
          }
        }
      }
      return behind.length > 0 ? { waitFor: behind } : { ready: { furthest, behind: {} } };
    });
  }

  override async auditToOwlmq(request: Omit<steps.AuditRequest, 'until'>): Promise<steps.AuditOutcome> {
    await this.#take(CALL_MS);
    this.#reach('owlmq');
    return this.#auditToOwlmq(request);
  }

  override async watchAudit(request: steps.WatchAuditRequest): Promise<steps.WatchAuditReport> {
    await this.slice(request.sliceMs, true);
    await this.#advance();
    this.#reach('owlmq');
    const outcome = this.#auditToOwlmq(request);
    const before = (request.checkpoint as ForwardCheckpoint | undefined)?.figures ?? noAuditFigures;
    const { missing, owlmqMessages } = figuresSince(outcome.figures, before);
    const alarmed = request.alarm !== undefined && missing > request.alarm.share * owlmqMessages;
    return { ...outcome, alarmed };
  }

  override async auditToKafka(request: Omit<steps.MirrorAuditRequest, 'toEnd'>): Promise<steps.AuditOutcome> {
    await this.#take(CALL_MS);
    this.#reach('owlmq');
    return this.#auditToKafka(request);
  }

  override async watchFleet(request: steps.WatchFleetRequest): Promise<steps.FleetFigures> {
    const { publishers } = this.systems;
    const sum = (of: (publisher: Publisher) => number): number => publishers.reduce((all, one) => all + of(one), 0);
    const counters = () => ({ copies: sum(({ copies }) => copies), dropped: sum(({ dropped }) => dropped) });
    await this.#advance();
    const before = counters();
    await this.slice(request.sliceMs);
    await this.#advance();
    const now = counters();
    const living = publishers.filter((publisher) => !this.#isCountedOut(publisher));
    return {
      ...noFleetFigures,
      looks: Math.max(1, Math.floor(request.sliceMs / 1_000)),
      living: living.length,
      behind: living.filter(({ epoch }) => epoch < request.epoch).map(({ name }) => name),
      latencyMs: this.#random.within(LATENCY_MS),
      oldestCopyMs: 0,
      copies: now.copies - before.copies,
      dropped: now.dropped - before.dropped,
    };
  }

  protected override async compared({ groups, from }: steps.WatchSoakRequest): Promise<Record<string, number>> {
    await this.#advance();
    const since = (group: string): number =>
      this.systems.partitions.reduce((sum, partition) => {
        const begin = from[partition.topic]?.[partition.index] ?? 0;
        return sum + Math.max(0, (this.systems.committed(group, 'kafka', partition) ?? 0) - begin);
      }, 0);
    return Object.fromEntries(groups.map((group) => [group, since(group)]));
  }

  override async watchWarm(request: steps.WatchWarmRequest): Promise<steps.WarmReport> {
    const { sliceMs, groups, checkpoint, from, partitions } = request;
    await this.slice(sliceMs);
    await this.#advance();
    if (!this.systems.owlmqAlive) {
      const { figures = noAuditFigures } = (checkpoint as MirrorCheckpoint | undefined) ?? {};
      return {
        audit: { checkpoint, figures, checked: 0, foreignAgoMs: {} },
        positions: null,
        positionsAt: null,
        rollbackBlockers: ['OwlMQ does not answer'],
      };
    }
    const audit = this.#auditToKafka(request);
    const isOwn = ({ partition: { topic, index } }: Translated): boolean =>
      partitions === undefined || partitions[topic]?.includes(index) === true;
    const positions = groups.flatMap((group) =>
      translate(this.systems, group, 'kafka', from)
        .filter(isOwn)
        .map(({ partition: { topic, index }, target }) => ({ group, topic, partition: index, offset: target })),
    );
    this.#note(positions);
    return {
      audit,
      positions,
      positionsAt: new Date(this.systems.now).toISOString(),
      rollbackBlockers: [],
    };
  }

  override async checkReadiness(request: steps.ReadinessRequest): Promise<steps.ReadinessCheck[]> {
    await this.#take(CALL_MS);
    const { groups, epoch, drainableLag, minPublishers } = request;
    const publishers = this.systems.publishers.filter((publisher) => !this.#isCountedOut(publisher));
    const following = publishers.filter((publisher) => publisher.epoch >= epoch);
    const answers = this.systems.owlmqAlive;
    return [
      {
        name: 'publishers follow',
        ok: publishers.length >= minPublishers && following.length === publishers.length,
        detail: `${following.length} of ${publishers.length} are on epoch ${epoch} and reach OwlMQ`,
        todo: 'Start the publishers with this migration.',
      },
      ...groups.flatMap((group) => this.#groupChecks(group, drainableLag)),
      { name: 'the way back', ok: true, detail: 'Kafka takes writes and gives them back', todo: '' },
      {
        name: 'OwlMQ answers',
        ok: answers,
        detail: answers ? 'OwlMQ takes writes and gives them back' : 'OwlMQ does not answer',
        todo: 'Make OwlMQ take writes.',
      },
      ...hoursChecks(request, this.systems.now),
    ];
  }

  override async proveWayBack({ topics, groups, from, audited }: steps.WayBackRequest): Promise<steps.WayBack> {
    await this.#take(CALL_MS);
    const owlmqAnswers = this.systems.owlmqAlive;
    const todo = 'Repair Kafka: until then nothing can return to it.';
    const partitions = this.systems.partitions.filter(({ topic }) => topics.includes(topic)).length;
    const checks: steps.WayBackCheck[] = [
      { name: 'Kafka takes writes', ok: true, detail: 'a canary went there and back', todo, takes: 'repair' },
      { name: 'every partition in Kafka answers', ok: true, detail: `${partitions} partitions`, todo, takes: 'repair' },
      ...groups.map((group): steps.WayBackCheck => {
        const members = this.systems.consumers.filter((one) => one.group === group && !this.#isCountedOut(one)).length;
        const detail = `${members} report, and would consume from Kafka again`;
        return { name: `members of ${group}`, ok: members > 0, detail, todo: 'Start consumers.', takes: 'force' };
      }),
    ];
    const lacks = this.systems.count().notInKafka;
    const checkpoints = audited as MirrorCheckpoint[];
    const detail = owlmqAnswers
      ? `${lacks} acknowledged messages are not there yet, and are repaired before anything returns (${checkpoints.length} parts audited)`
      : `${lacks} acknowledged messages are not there, and OwlMQ does not answer`;
    checks.push({
      ...{ name: 'Kafka has everything', ok: owlmqAnswers || lacks === 0, detail, todo: 'Make OwlMQ answer.' },
      takes: owlmqAnswers ? 'attention' : 'force',
    });
    if (!owlmqAnswers) return { checks, owlmqAnswers, lossAtMost: lacks, redeliveries: null };
    const translated = groups.flatMap((group) => translate(this.systems, group, 'kafka', from));
    const redeliveries = translated.reduce((sum, one) => sum + one.redeliveries, 0);
    checks.push({
      name: 'positions can be translated',
      ok: true,
      detail: `${translated.length} positions, ${redeliveries} messages would come again`,
      todo: '',
      takes: 'attention',
    });
    return { checks, owlmqAnswers, lossAtMost: 0, redeliveries };
  }

  override async proveLeg({ leg }: { migration: string; leg: Leg }): Promise<{ roundTripMs: number }> {
    const began = this.systems.now;
    await this.#take(CALL_MS);
    this.#reach(leg);
    return { roundTripMs: this.systems.now - began };
  }

  override async moveOffsets({ direction, groups, fences }: steps.MoveOffsetsRequest): Promise<steps.OffsetMove[]> {
    await this.#take(MOVE_MS);
    this.#reach('owlmq');
    const to: Leg = direction === 'to-owlmq' ? 'owlmq' : 'kafka';
    const translated = groups.map((group) => ({ group, of: translate(this.systems, group, to, fences) }));
    const refused = translated.flatMap(({ group, of }) =>
      of.filter(({ lacks }) => lacks).map((one) => ({ group, one })),
    );
    if (refused[0] !== undefined) {
      const { group, one } = refused[0];
      throw ApplicationFailure.nonRetryable(
        `${group} on ${nameOf(one.partition.topic, one.partition.index)}: ${to} lacks what it has not consumed`,
        'OffsetsRefused',
      );
    }
    return translated.map(({ group, of }) => {
      this.systems.setPositions(group, to, new Map(of.map(({ partition, target }) => [partition, target])));
      const redeliveries = of.reduce((sum, one) => sum + one.redeliveries, 0);
      this.toldRedeliveries += redeliveries;
      const exact = of.filter((one) => one.redeliveries === 0).length;
      return { group, exact, bounded: of.length - exact, redeliveries };
    });
  }

  override async restoreKafkaOffsets(request: steps.RestoreKafkaOffsetsRequest): Promise<steps.RestoredOffsets> {
    await this.#take(MOVE_MS);
    let redeliveriesAtMost = 0;
    for (const [group, topics] of Object.entries(request.groups)) {
      const targets = this.systems.partitions.map((partition) => {
        const { topic, index } = partition;
        const noted = this.#noted?.positions.get(group)?.get(nameOf(topic, index)) ?? 0;
        return [partition, Math.max(noted, topics[topic]?.[index] ?? 0)] as const;
      });
      this.systems.setPositions(group, 'kafka', new Map(targets));
      redeliveriesAtMost += targets.reduce((sum, [partition, target]) => sum + partition.end('kafka') - target, 0);
    }
    this.toldRedeliveries += redeliveriesAtMost;
    const at = this.#noted?.at;
    return { redeliveriesAtMost, positionsAt: at === undefined ? null : new Date(at).toISOString() };
  }

  // -- what the steps are made of -----------------------------------------------------------------------------------

  #auditToOwlmq(request: Omit<steps.AuditRequest, 'until'> & { until?: TopicOffsets }): steps.AuditOutcome {
    const before = request.checkpoint as ForwardCheckpoint | undefined;
    const positions = structuredClone(before?.positions ?? request.from ?? {});
    const { partitions, forward = { topics: [], ratio: 0 }, until } = request;
    const audited = auditToOwlmq(this.systems, { partitions, positions }, forward, until);
    const figures = addFigures(before?.figures ?? noAuditFigures, audited.figures);
    const checkpoint: ForwardCheckpoint = { positions, figures };
    return { checkpoint, figures, checked: audited.checked, foreignAgoMs: agoOf(audited.figures) };
  }

  #auditToKafka({ checkpoint, from, partitions }: AuditToKafka): steps.AuditOutcome {
    const before = checkpoint as MirrorCheckpoint | undefined;
    const { kafka, owlmq } = structuredClone(before ?? from);
    const audited = auditBothWays(this.systems, partitions, { kafka, owlmq });
    const figures = addFigures(before?.figures ?? noAuditFigures, audited.figures);
    const next: MirrorCheckpoint = { kafka, owlmq, figures };
    return { checkpoint: next, figures, checked: audited.checked, foreignAgoMs: agoOf(audited.figures) };
  }

  #groupChecks(group: string, drainableLag: number): steps.ReadinessCheck[] {
    const members = this.systems.consumers.filter((member) => member.group === group);
    const live = members.filter((member) => this.#stateOf(member) === 'live-kafka');
    const onOwlmq = members.filter((member) => this.#stateOf(member) === 'live-owlmq');
    const lag = this.systems.partitions.reduce(
      (sum, one) => sum + one.end('kafka') - (this.systems.committed(group, 'kafka', one) ?? 0),
      0,
    );
    return [
      {
        name: `group ${group}`,
        ok: live.length > 0 && lag <= drainableLag,
        detail: `${live.length} live members, ${lag} records behind on Kafka`,
        todo: `Start members of ${group}, or wait until it is at most ${drainableLag} records behind.`,
      },
      {
        name: `positions of ${group}`,
        ok: onOwlmq.length === 0,
        detail: onOwlmq.length === 0 ? 'nobody consumes in the group on OwlMQ' : 'in use on OwlMQ',
        todo: `Stop the members of ${group} on OwlMQ.`,
      },
    ];
  }

  #note(positions: readonly steps.GroupPosition[]): void {
    const noted = this.#noted?.positions ?? new Map<string, Map<string, number>>();
    for (const { group, topic, partition, offset } of positions) {
      const own = noted.get(group) ?? new Map<string, number>();
      noted.set(group, own.set(nameOf(topic, partition), offset));
    }
    this.#noted = { positions: noted, at: this.systems.now };
  }

  #stateOf(member: Consumer): 'live-kafka' | 'live-owlmq' | 'drained' | 'draining' {
    if (this.systems.isDrained(member)) return 'drained';
    return member.routing?.drain === undefined ? `live-${member.live}` : 'draining';
  }

  #isCountedOut(member: Publisher | Consumer): boolean {
    return member.countedOutAt(member.routing?.leaseMs ?? 0) <= this.systems.now;
  }

  #longestHold({ longestHoldMs, holdsSince }: Publisher): number {
    return Math.max(longestHoldMs, holdsSince === undefined ? 0 : this.systems.now - holdsSince);
  }

  #reach(leg: Leg): void {
    if (leg === 'owlmq' && !this.systems.owlmqAlive) {
      throw ApplicationFailure.nonRetryable('OwlMQ does not answer', 'OwlmqUnreachable');
    }
  }

  async #advance(): Promise<void> {
    this.systems.advance(await this.clock.now());
  }

  /** Lets as much time pass as a call takes. */
  async #take(range: readonly [number, number]): Promise<void> {
    await this.slice(this.#random.within(range));
    Context.current().cancellationSignal.throwIfAborted();
    await this.#advance();
  }

  /** Lets time pass until the fleet has done what is waited for. */
  async #when<T>(ask: () => { ready: T } | { waitFor: string[] }): Promise<T> {
    const { cancellationSignal } = Context.current();
    const deadline = (await this.clock.now()) + WAIT_MS;
    for (;;) {
      await this.#advance();
      const answer = ask();
      if ('ready' in answer) return answer.ready;
      if (this.systems.now > deadline) throw new Error(`Still waiting for ${answer.waitFor.join('; ')}`);
      await this.slice(Math.max(1, this.systems.nextChangeAt - this.systems.now));
      cancellationSignal.throwIfAborted();
    }
  }
}

type AuditToKafka = Pick<steps.MirrorAuditRequest, 'checkpoint' | 'from' | 'partitions'>;

/** Foreign producers of the model write all the time: the last record is of just now. */
function agoOf({ foreign }: steps.AuditFigures): Record<string, number> {
  return Object.fromEntries(
    Object.entries(foreign)
      .filter(([, records]) => records > 0)
      .map(([topic]) => [topic, 0]),
  );
}
