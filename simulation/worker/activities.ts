import { furthest, type KafkaPosition } from '@owlmq/kafka-bridge/operations';
import type { RoutingState, TopicOffsets } from '@owlmq/kafka-bridge/protocol';
import { Drain } from '../../src/activities/drain.js';
import { judgeConsumers, judgePublishers, present } from '../../src/activities/fleet.js';
import { GroupMembership } from '../../src/activities/group-members.js';
import { MirrorWatch } from '../../src/activities/mirror-watch.js';
import { recordsBetween } from '../../src/activities/topic-offsets.js';
import type { Judgement } from '../../src/activities/until-ready.js';
import type * as steps from '../../src/activities/migration-activities.js';
import { noAuditFigures } from '../../src/workflows/audit-figures.js';
import { noFleetFigures } from '../../src/workflows/ramp-gates.js';
import type { Process, World } from '../clock/world.js';
import type { Ledger, Move } from '../ledger.js';
import type { Leg } from '../systems/group.js';
import { PARTITIONS, TOPIC } from '../systems/message.js';
import type { Systems } from '../systems/systems.js';
import type { Attempt } from '../temporal/server.js';
import { ForwardModel, MirrorModel, type ForwardCheckpoint, type MirrorCheckpoint } from './audits.js';
import { clientsOf } from './clients.js';
import { Roster } from './roster.js';
import { SimulatedRoutingWriter } from './routing-writer.js';
import { translate } from './translation.js';

const POLL_MS = 40;
const AUDIT_PAUSE_MS = 60;
const POSITIONS_EVERY_MS = 1_500;

/** An activity of the workflow, as the worker of the simulation runs it. */
type Simulated = {
  [K in keyof steps.MigrationActivities]: (
    request: Parameters<steps.MigrationActivities[K]>[0] & object,
    attempt: Attempt,
  ) => ReturnType<steps.MigrationActivities[K]>;
};

/** What the checker has to know of the steps, told as they take effect. */
export interface Witness {
  /** All publishers obey the fence of an epoch, as far as the workflow will know. */
  fenced: (epoch: number) => void;
  /** Positions of a group were set. */
  moved: (move: Move) => void;
}

/**
 * The steps of a migration on the simulated systems: what `src/activities` does, with the decisions of production and
 * models of what reads and writes logs.
 */
export class SimulatedActivities implements Simulated {
  readonly #systems: Systems;
  readonly #ledger: Ledger;
  readonly #process: Process;
  readonly #world: World;
  readonly #roster: Roster;
  readonly #clients: ReturnType<typeof clientsOf>;
  readonly #membership: GroupMembership;
  readonly #writer: SimulatedRoutingWriter;
  readonly #witness: Witness;

  constructor(systems: Systems, ledger: Ledger, process: Process, witness: Witness) {
    this.#systems = systems;
    this.#ledger = ledger;
    this.#process = process;
    this.#world = systems.world;
    this.#roster = new Roster(systems, process);
    this.#clients = clientsOf(systems, process, this.#roster);
    this.#membership = new GroupMembership(this.#clients);
    this.#writer = new SimulatedRoutingWriter(systems, process);
    this.#witness = witness;
  }

  /** No group of a simulation is in the care of a hook. */
  callHook(): Promise<steps.HookAnswer> {
    throw new TypeError('a simulation has no hooks');
  }

  async run(name: string, argument: unknown, attempt: Attempt): Promise<unknown> {
    const activities = this as unknown as Record<
      string,
      undefined | ((argument: unknown, attempt: Attempt) => Promise<unknown>)
    >;
    if (activities[name] === undefined) throw new Error(`The simulation has no activity ${name}.`);
    return await activities[name](argument, attempt);
  }

  preflight(): Promise<steps.PreflightReport> {
    const epoch = this.#systems.routing.reduce((highest, { state }) => Math.max(highest, state.epoch), 0);
    return Promise.resolve({ findings: [], topics: { [TOPIC]: PARTITIONS }, epoch, searchAttributes: [] });
  }

  prepareTopics(): Promise<{ created: string[] }> {
    return Promise.resolve({ created: [] });
  }

  async applyRouting(state: RoutingState): Promise<void> {
    await this.#writer.write(state);
  }

  async awaitPublishers(request: steps.AwaitPublishersRequest, attempt: Attempt): Promise<steps.PublisherFleet> {
    const fleet = await this.#untilReady(attempt, async () =>
      judgePublishers(request, present(await this.#roster.readMembers(), 'publisher')),
    );
    if (request.fenced) this.#witness.fenced(request.epoch);
    return fleet;
  }

  async awaitConsumers(request: steps.AwaitConsumersRequest, attempt: Attempt): Promise<steps.ConsumerFleet> {
    return await this.#untilReady(attempt, async () =>
      judgeConsumers(request, present(await this.#roster.readMembers(), 'consumer')),
    );
  }

  async awaitDrained(request: steps.AwaitDrainedRequest, attempt: Attempt): Promise<steps.Drained> {
    const drain = new Drain(this.#clients, request);
    return await this.#untilReady(attempt, () => drain.look());
  }

  async legEnds({ leg }: { leg: Leg }): Promise<TopicOffsets> {
    return { [TOPIC]: await this.#steady(() => this.#ask(leg, () => this.#systems.logs[leg].ends)) };
  }

  observationEnds(): Promise<number[]> {
    return Promise.resolve([0]);
  }

  async auditToOwlmq(request: steps.AuditRequest, attempt: Attempt): Promise<steps.AuditOutcome> {
    const audit = this.#forward(request, attempt);
    const goal =
      request.until?.[TOPIC] ?? (await this.#steady(() => this.#ask('kafka', () => this.#systems.logs.kafka.ends)));
    const reached = (): boolean => goal.every((offset, partition) => (audit.positions[partition] ?? 0) >= offset);
    for (;;) {
      throwWhenCancelled(attempt);
      await this.#steady(() => audit.step(request.until));
      attempt.record(outcomeOf(audit).checkpoint);
      if (reached()) return outcomeOf(audit);
      await attempt.pause(AUDIT_PAUSE_MS);
    }
  }

  async watchAudit(request: steps.WatchAuditRequest, attempt: Attempt): Promise<steps.WatchAuditReport> {
    const audit = this.#forward(request, attempt);
    const end = attempt.scheduledAt + request.sliceMs;
    for (;;) {
      if (!attempt.cancelled) await audit.step(undefined).catch(failUnless(attempt));
      attempt.record(outcomeOf(audit).checkpoint);
      if (attempt.cancelled || this.#world.now >= end) return { ...outcomeOf(audit), alarmed: false };
      await attempt.pause(250);
    }
  }

  async auditToKafka(request: steps.MirrorAuditRequest, attempt: Attempt): Promise<steps.AuditOutcome> {
    const audit = this.#mirror(request, attempt);
    const ends = {
      kafka: await this.#steady(() => this.#ask('kafka', () => this.#systems.logs.kafka.ends)),
      owlmq: await this.#steady(() => this.#ask('owlmq', () => this.#systems.logs.owlmq.ends)),
    };
    const reached = (): boolean =>
      ends.kafka.every((offset, partition) => (audit.kafka[partition] ?? 0) >= offset) &&
      ends.owlmq.every((offset, partition) => (audit.owlmq[partition] ?? 0) >= offset);
    for (;;) {
      throwWhenCancelled(attempt);
      const complete = await this.#steady(() => audit.step(request.toEnd ? { [TOPIC]: ends.owlmq } : undefined));
      attempt.record(mirrorOutcome(audit).checkpoint);
      if (complete || (!request.toEnd && reached())) return mirrorOutcome(audit);
      await attempt.pause(AUDIT_PAUSE_MS);
    }
  }

  async watchWarm(request: steps.WatchWarmRequest, attempt: Attempt): Promise<steps.WarmReport> {
    const { groups, from, sliceMs } = request;
    const mirror = new MirrorWatch(request.mirror);
    const audit = this.#mirror(request, attempt);
    let positions: steps.GroupPosition[] | null = null;
    let positionsAt: string | null = null;
    let blockers: string[] = [];
    let due = 0;
    const end = attempt.scheduledAt + sliceMs;
    for (;;) {
      const last = attempt.cancelled || this.#world.now >= end;
      try {
        await audit.step(undefined);
        const ends = { [TOPIC]: await this.#ask('owlmq', () => this.#systems.logs.owlmq.ends) };
        mirror.look(this.#roster.members(), ends, { [TOPIC]: [...audit.owlmq] });
        if (last || this.#world.now >= due) {
          due = this.#world.now + POSITIONS_EVERY_MS;
          const translated = await translate(
            this.#systems,
            this.#process,
            'to-kafka',
            groups,
            from,
            checkpointOf(audit),
          );
          positions = translated.map(({ group, partition, target }) => ({
            group,
            topic: TOPIC,
            partition,
            offset: target,
          }));
          positionsAt = new Date(this.#world.now).toISOString();
          const noted = positions;
          await this.#ask('kafka', () => this.#systems.positions.push(...noted));
        }
        blockers = [];
      } catch (error) {
        blockers = [`the audit cannot go on: ${error instanceof Error ? error.message : String(error)}`];
        mirror.lookWithoutOwlmq(this.#roster.members());
      }
      attempt.record(mirrorOutcome(audit).checkpoint);
      if (last) {
        return { audit: mirrorOutcome(audit), mirror: mirror.gap, positions, positionsAt, rollbackBlockers: blockers };
      }
      await attempt.pause(250);
    }
  }

  async watchFleet({ sliceMs }: steps.WatchFleetRequest, attempt: Attempt): Promise<steps.FleetFigures> {
    await this.#slice(sliceMs, attempt);
    return { ...noFleetFigures, looks: 1, living: 1, copies: 10, latencyMs: 1 };
  }

  async watchSoak({ sliceMs, groups }: steps.WatchSoakRequest, attempt: Attempt): Promise<steps.SoakReport> {
    const began = attempt.scheduledAt;
    await this.#slice(sliceMs, attempt);
    const { now } = this.#world;
    const spans: [number, number][] = [[began, now]];
    const counts = {
      matched: now,
      missing: 0,
      unexpected: 0,
      different: 0,
      reordered: 0,
      failedLive: 0,
      failedShadow: 0,
      ignored: 0,
    };
    return {
      comparison: {
        checkpoint: null,
        watched: { lookedAt: now, alive: spans, compared: Object.fromEntries(groups.map((group) => [group, spans])) },
        groups: Object.fromEntries(groups.map((group) => [group, { counts, comparedUpTo: now, stalled: [] }])),
        samples: [],
      },
    };
  }

  async checkReadiness({ groups, epoch, minPublishers }: steps.ReadinessRequest): Promise<steps.ReadinessCheck[]> {
    await this.#steady(() => this.#roster.readToEnd());
    const members = this.#roster.living();
    const publishers = members.filter((report) => report.role === 'publisher');
    const behind = publishers.filter((report) => report.epoch < epoch || report.mirrorDegraded);
    const check = (name: string, ok: boolean): steps.ReadinessCheck => ({ name, ok, detail: '', todo: '' });
    return [
      check('publishers follow', publishers.length >= minPublishers && behind.length === 0),
      ...groups.map((group) => {
        const live = members.some(
          (report) => report.role === 'consumer' && report.group === group && report.state === 'live-kafka',
        );
        return check(`group ${group}`, live);
      }),
    ];
  }

  /** A model: Kafka and members as production asks for them; with OwlMQ dead Kafka must lack nothing. Nobody else is there. */
  async proveWayBack(request: steps.WayBackRequest): Promise<steps.WayBack> {
    const { groups, mirror, from, audited } = request;
    const check = (name: string, ok: boolean, takes: steps.WayBackCheck['takes']): steps.WayBackCheck => {
      return { name, ok, takes, detail: '', todo: '' };
    };
    const answers = (leg: Leg, forMs: number) =>
      this.#steady(() => this.#ask(leg, () => true), forMs).catch(() => false);
    const kafkaAnswers = await answers('kafka', 5_000);
    const owlmqAnswers = await answers('owlmq', 5_000);
    const checks = [check('Kafka takes writes', kafkaAnswers, 'repair')];
    if (!kafkaAnswers) return { checks, owlmqAnswers, lossAtMost: 0, redeliveries: null };
    await this.#steady(() => this.#roster.readToEnd());
    const living = this.#roster.living();
    for (const group of groups) {
      const members = living.filter((report) => report.role === 'consumer' && report.group === group);
      checks.push(check(`members of ${group}`, members.length > 0, 'force'));
    }
    if (owlmqAnswers) return { checks, owlmqAnswers, lossAtMost: 0, redeliveries: null };
    const cutOff = this.#roster.members().some(({ report }) => report.role === 'publisher' && report.mirrorDegraded);
    const incomplete = mirror.incomplete || cutOff;
    const proven = (audited[0] as MirrorCheckpoint | undefined)?.owlmq ?? from.owlmq[TOPIC] ?? [];
    const lossAtMost = incomplete ? recordsBetween({ [TOPIC]: proven }, { [TOPIC]: this.#systems.logs.owlmq.ends }) : 0;
    checks.push(check('Kafka has everything', !incomplete, 'force'));
    return { checks, owlmqAnswers, lossAtMost, redeliveries: null };
  }

  async proveLeg({ leg }: { leg: Leg }): Promise<{ roundTripMs: number }> {
    await this.#steady(() => this.#ask(leg, () => true), 2_500);
    return { roundTripMs: 1 };
  }

  async moveOffsets({ direction, groups, fences, audited }: steps.MoveOffsetsRequest): Promise<steps.OffsetMove[]> {
    const to: Leg = direction === 'to-owlmq' ? 'owlmq' : 'kafka';
    const checkpoint = audited?.[0] as MirrorCheckpoint | undefined;
    const translated = await translate(this.#systems, this.#process, direction, groups, fences, checkpoint);
    const moves: steps.OffsetMove[] = [];
    for (const group of groups) {
      const own = translated.filter((one) => one.group === group);
      await this.#import(
        to,
        group,
        own.map(({ partition, source, target, redelivered }) => ({ partition, source, target, redelivered })),
      );
      const bounded = own.filter(({ redelivered }) => redelivered.length > 0);
      moves.push({
        group,
        exact: own.length - bounded.length,
        bounded: bounded.length,
        redeliveries: own.reduce((sum, { redelivered }) => sum + redelivered.length, 0),
      });
    }
    return moves;
  }

  async restoreKafkaOffsets({ groups }: steps.RestoreKafkaOffsetsRequest): Promise<steps.RestoredOffsets> {
    const { positions, logs } = this.#systems;
    const noted = await this.#steady(() =>
      this.#ask('kafka', () => positions.map((one): KafkaPosition => ({ ...one, topic: TOPIC }))),
    );
    const known = Object.entries(groups).flatMap(([group, topics]) =>
      (topics[TOPIC] ?? []).map((offset, partition): KafkaPosition => ({ group, topic: TOPIC, partition, offset })),
    );
    const all = furthest([...known, ...noted]);
    const ends = await this.#ask('kafka', () => logs.kafka.ends);
    let redeliveriesAtMost = 0;
    for (const group of Object.keys(groups)) {
      const own = all.filter((position) => position.group === group);
      await this.#import(
        'kafka',
        group,
        own.map(({ partition, offset }) => ({ partition, source: undefined, target: offset, redelivered: undefined })),
      );
      for (const { partition, offset } of own) redeliveriesAtMost += (ends[partition] ?? 0) - offset;
    }
    return { redeliveriesAtMost, positionsAt: null };
  }

  /** Sets offsets of a group without members, and reads them back. */
  async #import(
    to: Leg,
    group: string,
    targets: readonly {
      partition: number;
      source: number | undefined;
      target: number;
      redelivered: readonly string[] | undefined;
    }[],
  ): Promise<void> {
    const at = this.#world.now;
    await this.#membership.whenEmpty(to, group, () =>
      this.#ask(to, () => {
        this.#systems
          .group(to, group)
          .setOffsets(targets.map(({ partition, target }) => ({ partition, offset: target })));
        for (const one of targets) {
          const move: Move = { group, to, at, ...one };
          this.#ledger.moves.push(move);
          this.#witness.moved(move);
        }
      }),
    );
    const stored = await this.#steady(() => this.#ask(to, () => [...this.#systems.group(to, group).commits]));
    if (targets.some(({ partition, target }) => stored[partition] !== target))
      throw new Error('read back other offsets');
  }

  #forward(request: Omit<steps.AuditRequest, 'until'>, attempt: Attempt): ForwardModel {
    const checkpoint = (attempt.resumed ?? request.checkpoint) as ForwardCheckpoint | undefined;
    const context = { systems: this.#systems, process: this.#process, graceMs: request.graceMs };
    return new ForwardModel(context, checkpoint?.positions ?? request.from?.[TOPIC] ?? []);
  }

  #mirror(
    { graceMs, from, checkpoint }: Pick<steps.MirrorAuditRequest, 'graceMs' | 'from' | 'checkpoint'>,
    attempt: Attempt,
  ): MirrorModel {
    const context = { systems: this.#systems, process: this.#process, graceMs };
    return new MirrorModel(context, from, (attempt.resumed ?? checkpoint) as MirrorCheckpoint | undefined);
  }

  async #untilReady<T>(attempt: Attempt, ask: () => Promise<Judgement<T>>): Promise<T> {
    for (;;) {
      throwWhenCancelled(attempt);
      const judgement = await this.#steady(ask);
      if ('ready' in judgement) return judgement.ready;
      if (this.#world.now > attempt.endsAt - 3_000)
        throw new Error(`Still waiting for ${judgement.waitFor.join('; ')}`);
      await attempt.pause(POLL_MS);
    }
  }

  async #slice(sliceMs: number, attempt: Attempt): Promise<void> {
    const leftMs = attempt.scheduledAt + sliceMs - this.#world.now;
    if (leftMs > 0) await attempt.pause(leftMs);
  }

  async #ask<T>(leg: Leg, serve: () => T): Promise<T> {
    return await this.#systems.network.ask(this.#process, this.#systems.service(leg), serve);
  }

  /** Repeats what gets no answer, as the clients of both systems do. */
  async #steady<T>(ask: () => Promise<T>, forMs = 5_000): Promise<T> {
    const until = this.#world.now + forMs;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const unanswered = error instanceof Error && error.name === 'NoAnswerError';
        if (!unanswered || this.#world.now >= until) throw error;
        await this.#world.sleep(this.#process, this.#world.random.between(50, 200));
      }
    }
  }
}

function throwWhenCancelled({ cancelled }: Attempt): void {
  if (cancelled) throw new Error('This operation was aborted');
}

/** A failure of a step that was being ended is none. */
function failUnless(attempt: Attempt): (error: unknown) => void {
  return (error) => {
    if (!attempt.cancelled) throw error;
  };
}

function outcomeOf(audit: ForwardModel): steps.AuditOutcome & { checkpoint: ForwardCheckpoint } {
  const kafkaMessages = audit.positions.reduce((sum, offset) => sum + offset, 0);
  // Those below a ratio of 1 are counted as copied, too: the ramp's figures are not what is looked at.
  const figures = { ...noAuditFigures, kafkaMessages, owlmqMessages: kafkaMessages };
  return {
    checkpoint: { positions: [...audit.positions], figures: {} },
    figures,
    checked: kafkaMessages,
    foreignAgoMs: {},
  };
}

function checkpointOf(audit: MirrorModel): MirrorCheckpoint {
  return { owlmq: [...audit.owlmq], kafka: [...audit.kafka], figures: {} };
}

function mirrorOutcome(audit: MirrorModel): steps.AuditOutcome {
  return { checkpoint: checkpointOf(audit), figures: noAuditFigures, checked: 0, foreignAgoMs: {} };
}
