import type { MemberRoster, TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { MirrorGap } from './migration-activities.js';
import { recordsBetween } from './topic-offsets.js';

type Members = ReturnType<MemberRoster['members']>;

/** Keeps what Kafka, as the mirror, may lack: what a way back with OwlMQ dead could lose. */
export class MirrorWatch {
  #gap: MirrorGap;
  /** Where OwlMQ ended once no publisher was cut off any more: proven up to there, Kafka lacks nothing. */
  #goal: TopicOffsets | undefined;

  /** @param earlier as it was known last. */
  constructor(earlier: MirrorGap | undefined) {
    this.#gap = earlier ?? { incomplete: false, unproven: 0, acknowledged: 0 };
  }

  get gap(): MirrorGap {
    return this.#gap;
  }

  /**
   * @param members all of the migration, silent ones too: what a publisher gave up before it died is missing all the same.
   * @param ends where OwlMQ's partitions end, read after the audit had proven `proven`.
   */
  look(members: Members, ends: TopicOffsets, proven: TopicOffsets): void {
    const unproven = recordsBetween(proven, ends);
    if (cutOff(members).length > 0) this.#cutOff();
    else if (this.#gap.incomplete) {
      this.#goal ??= ends;
      if (recordsBetween(proven, this.#goal) === 0) this.#gap = { ...this.#gap, incomplete: false };
    }
    this.#gap = { ...this.#gap, unproven, acknowledged: acknowledgedByOwlmq(members) };
  }

  /** What had to be proven before says nothing of what is given up from now on. */
  #cutOff(): void {
    this.#gap = { ...this.#gap, incomplete: true };
    this.#goal = undefined;
  }

  /** OwlMQ does not answer: what came since the last look is told by what publishers count. */
  lookWithoutOwlmq(members: Members): void {
    if (cutOff(members).length > 0) this.#cutOff();
  }
}

/** Publishers whose last word is that they do not reach Kafka. */
export function cutOff(members: Members): string[] {
  return members.flatMap(({ report }) =>
    report.role === 'publisher' && report.mirrorDegraded ? [report.instance] : [],
  );
}

/** Messages that OwlMQ has acknowledged to publishers, over all instances that are remembered. */
export function acknowledgedByOwlmq(members: Members): number {
  return members.reduce((sum, { report }) => sum + (report.role === 'publisher' ? report.owlmq.messages : 0), 0);
}
