import type { RoutingState } from '@owlmq/kafka-bridge/protocol';
import type { Effect, Ledger, Move } from './ledger.js';
import type { Leg } from './systems/group.js';
import type { Stored } from './systems/message.js';
import type { Systems } from './systems/systems.js';

interface Written {
  state: RoutingState;
  at: number;
}

/**
 * Judges a run by what a caller and a handler see, and by the order of routing states, apart from the code that it
 * judges. Invariants are those of docs/simulation.md.
 */
export class Checker {
  readonly #systems: Systems;
  readonly #ledger: Ledger;
  readonly #groups: readonly string[];
  readonly #written: Written[] = [];
  /** Epoch whose fence all publishers are known to obey. */
  #fenced: number | undefined;

  constructor(systems: Systems, ledger: Ledger, groups: readonly string[]) {
    this.#systems = systems;
    this.#ledger = ledger;
    this.#groups = groups;
  }

  /** A state was written. Epochs only rise, and each names one state. */
  written(state: RoutingState): void {
    const newest = this.#written.at(-1)?.state;
    // A lower one of a lost writer is ignored by members.
    if (newest !== undefined && state.epoch < newest.epoch) return;
    if (newest?.epoch === state.epoch) {
      const say = (one: RoutingState): string => JSON.stringify({ ...one, writtenAt: '' });
      if (say(newest) !== say(state)) this.#ledger.violate('I6', `epoch ${state.epoch} names two states`);
      return;
    }
    // Without a fence the log grows behind the drain, and nobody applies it.
    if (state.drain !== undefined && state.fence === undefined)
      this.#ledger.violate('I10', `epoch ${state.epoch} has consumers drain while nobody holds publishers`);
    this.#fenced = undefined;
    this.#written.push({ state, at: this.#systems.world.now });
  }

  /** The workflow knows that all publishers obey the fence of an epoch. */
  fenced(epoch: number): void {
    if (this.#written.at(-1)?.state.epoch === epoch) this.#fenced = epoch;
  }

  /** Bytes of a message leave a publisher for a leg, written under an epoch of its own. */
  leaves(publisher: string, obeyed: number, leg: Leg, message: Stored): void {
    if (this.#fenced !== undefined) {
      this.#ledger.violate(
        'I6',
        `${publisher} writes ${message.id} to ${leg} while all obey the fence of epoch ${this.#fenced}`,
      );
    }
    // A copy may be of an earlier epoch, on the strength of the one that is obeyed.
    this.#assertLease(publisher, leg === 'kafka' ? message.epoch : obeyed, `writes ${message.id} to ${leg}`);
  }

  /** A handler's `apply` begins under an epoch. */
  applies(effect: Effect): void {
    const { consumer, epoch, id, side } = effect;
    this.#assertLease(consumer, epoch, `applies ${id} from ${side}`);
    const state = this.#stateOf(epoch);
    if (state !== undefined && state.live !== side) {
      this.#ledger.violate(
        'I7',
        `${consumer} applies ${id} from ${side} under epoch ${epoch}, which has ${state.live} live`,
      );
    }
    if (!this.#ledger.calls.has(id)) this.#ledger.violate('I2', `${id} was applied and never published`);
  }

  /** Positions of a group were set: nothing that it has not consumed may lie before them. */
  moved(move: Move): void {
    const { group, partition, to, source, target } = move;
    const from: Leg = to === 'kafka' ? 'owlmq' : 'kafka';
    const applied = new Set(this.#ledger.effects.filter((effect) => effect.group === group).map(({ id }) => id));
    const log = this.#systems.logs[to].partitions[partition] ?? [];
    for (const { id } of log.slice(0, target)) {
      if (applied.has(id)) continue;
      const place = this.#systems.logs[from].find(partition, id);
      if (source !== undefined && place !== undefined && place < source) continue;
      this.#ledger.violate(
        'I8',
        `${group} goes on at ${to} ${partition}/${target}, behind ${id}, which it has not consumed`,
      );
    }
  }

  /** What must hold once all is at rest. */
  end(): void {
    this.#judgeKafka();
    for (const group of this.#groups) {
      const effects = this.#ledger.effects.filter((effect) => effect.group === group);
      this.#judgeDelivery(group, effects);
      this.#judgeOrder(group, effects);
      this.#judgeSides(group, effects);
    }
  }

  #assertLease(who: string, epoch: number, what: string): void {
    const { now } = this.#systems.world;
    const next = this.#written.find(({ state }) => state.epoch > epoch);
    if (next === undefined) return;
    // Before the first state there is no lease of a migration.
    const leaseMs = this.#stateOf(epoch)?.leaseMs ?? 10_000;
    if (now >= next.at + leaseMs) {
      this.#ledger.violate(
        'I6',
        `${who} ${what} under epoch ${epoch}, ${now - next.at} ms after epoch ${next.state.epoch} was written`,
      );
    }
  }

  #stateOf(epoch: number): RoutingState | undefined {
    return this.#written.find(({ state }) => state.epoch === epoch)?.state;
  }

  /** Who is back on Kafka finds everything there: nobody asks for a rollback by force. */
  #judgeKafka(): void {
    if (this.#written.at(-1)?.state.primary !== 'kafka') return;
    const there = new Set(this.#systems.logs.kafka.partitions.flatMap((log) => log.map(({ id }) => id)));
    for (const { id, acknowledgedAt } of this.#ledger.calls.values()) {
      if (acknowledgedAt !== undefined && !there.has(id))
        this.#ledger.violate('I3', `${id} was acknowledged, and Kafka does not have it`);
    }
  }

  /** Acknowledged messages reach each group, on one side; on both only where that was said. */
  #judgeDelivery(group: string, effects: readonly Effect[]): void {
    const byId = new Map<string, Effect[]>();
    for (const effect of effects) byId.set(effect.id, [...(byId.get(effect.id) ?? []), effect]);
    for (const call of this.#ledger.calls.values()) {
      const own = byId.get(call.id) ?? [];
      if (call.acknowledgedAt !== undefined && own.length === 0) {
        this.#ledger.violate('I1', `${call.id} was acknowledged and never applied by ${group}`);
      }
      const [first] = own;
      const other = own.find(({ side }) => side !== first?.side);
      if (first !== undefined && other !== undefined && !this.#isToldAgain(group, first, other)) {
        this.#ledger.violate(
          'I1',
          `${call.id} was applied by ${group} from ${first.side}, and again from ${other.side}, and nobody said so`,
        );
      }
    }
  }

  /** Whether a move said that a message comes again, or it was applied and not committed, which brings it again. */
  #isToldAgain(group: string, first: Effect, again: Effect): boolean {
    return this.#movesBefore(group, again).some((move) => {
      if (move.redelivered === undefined) return again.offset >= move.target;
      const wasOpen = first.offset >= (move.source ?? 0) && first.startedAt <= move.at;
      return move.redelivered.includes(again.id) || wasOpen;
    });
  }

  /** Acknowledged messages of a key are applied in the order of their calls, the first time. */
  #judgeOrder(group: string, effects: readonly Effect[]): void {
    const seen = new Set<string>();
    const last = new Map<string, { number: number; effect: Effect }>();
    for (const effect of effects) {
      const { id } = effect;
      if (seen.has(id)) continue;
      seen.add(id);
      const call = this.#ledger.calls.get(id);
      if (call?.acknowledgedAt === undefined) continue;
      const before = last.get(call.key);
      if (before === undefined || call.number > before.number) {
        last.set(call.key, { number: call.number, effect });
        continue;
      }
      if (this.#isRepairedLate(group, effect, before.effect)) this.#ledger.repairedLate++;
      else this.#ledger.violate('I5', `${group} applied ${id} after number ${before.number} of its key`);
    }
  }

  /**
   * Whether an audit wrote the message, behind the later one of its key that was applied before, and a group that was
   * behind moved there since: known weakness 5 of docs/architecture.md.
   */
  #isRepairedLate(group: string, effect: Effect, later: Effect): boolean {
    const { side, partition, offset } = effect;
    if (later.side !== side || later.partition !== partition || later.offset > offset) return false;
    const stored = this.#systems.logs[side].partitions[partition]?.[offset];
    if (stored?.writer.startsWith('worker.') !== true) return false;
    return this.#movesBefore(group, effect).some(({ target, at }) => target <= offset && at >= stored.leftAt);
  }

  /** Moves of a group to where it applied something, up to then. */
  #movesBefore(group: string, { side, partition, startedAt }: Effect): Move[] {
    return this.#ledger.moves.filter(
      (move) => move.group === group && move.to === side && move.partition === partition && move.at <= startedAt,
    );
  }

  /** Once a side has taken over, the other one applies nothing before it is told to. */
  #judgeSides(group: string, effects: readonly Effect[]): void {
    let era = 0;
    for (const { epoch, id, side, consumer } of effects) {
      const own = this.#eraOf(epoch);
      if (own < era)
        this.#ledger.violate(
          'I7',
          `${consumer} of ${group} applies ${id} from ${side} when the other side is live already`,
        );
      era = Math.max(era, own);
    }
  }

  #eraOf(epoch: number): number {
    let era = 0;
    let live: Leg = 'kafka';
    for (const { state } of this.#written) {
      if (state.epoch > epoch) break;
      if (state.live !== live) era++;
      live = state.live;
    }
    return era;
  }
}
