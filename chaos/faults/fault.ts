import { Random } from '../random.js';
import type { Pace } from '../pace.js';

/** Every way in which the harness breaks something. */
export const faultKinds = [
  /** SIGKILL of a publisher at any moment. */
  'kill-publisher',
  /** The mirror's link is silenced, the primary leg acknowledges, then SIGKILL: copies are lost with the process. */
  'kill-between-legs',
  /** SIGSTOP past the lease, then SIGCONT. */
  'freeze-publisher',
  /**
   * The same with writes under way on a slow link, and a fence meanwhile: they arrive after the lease is over, when the
   * fence may stand already.
   */
  'freeze-mid-write',
  /** SIGKILL of the broker, and a start on the same data. */
  'restart-kafka',
  /** The same of OwlMQ. */
  'restart-owlmq',
  /** SIGKILL of the auditor, which resumes from its checkpoint. */
  'kill-auditor',
  /** Latency both ways. */
  'link-slow',
  /** A few kilobytes a second. */
  'link-narrow',
  /** Connections are reset. */
  'link-reset',
  /** Connections end in the middle of what is sent. */
  'link-cut-short',
  /** Connections stay open and nothing passes. */
  'link-silent',
  /** What is sent arrives, its answer does not. */
  'link-half-open',
  /** Connections break and none can be made. */
  'link-down',
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** One fault, as the seed has it; when it begins depends on the run. */
export interface Fault {
  index: number;
  kind: FaultKind;
  publisher: number;
  leg: 'kafka' | 'owlmq';
  gapMs: number;
  lastsMs: number;
  deadMs: number;
  /** From 0 to 1: how strong it is, where that means something. */
  strength: number;
}

/** Faults, up to a number: kinds are dealt from a shuffled deck, so that each comes up in every round. */
export function* faults(seed: number, publishers: number, pace: Pace, most = Infinity): Generator<Fault> {
  const deck = new Random(seed, 'faults');
  let left: FaultKind[] = [];
  for (let index = 0; index < most; index++) {
    if (left.length === 0) left = deck.shuffled(faultKinds);
    const kind = left.shift();
    if (kind === undefined) return;
    const random = new Random(seed, 'fault', index);
    yield {
      ...{ index, kind, publisher: random.below(publishers), leg: random.pick(['kafka', 'owlmq'] as const) },
      ...{ gapMs: random.within(pace.gapMs), lastsMs: random.within(pace.faultMs), deadMs: random.within(pace.deadMs) },
      strength: random.share(),
    };
  }
}

/** What a fault has to itself: two faults never break the same thing at once. */
export function resourcesOf({ kind, publisher, leg }: Fault): string[] {
  switch (kind) {
    case 'kill-publisher':
    case 'freeze-publisher':
      return [`publisher-${publisher}`];
    case 'kill-between-legs':
    case 'freeze-mid-write':
      return [`publisher-${publisher}`, `kafka-${publisher}`, `owlmq-${publisher}`, 'kafka', 'owlmq'];
    case 'restart-kafka':
      return ['kafka'];
    case 'restart-owlmq':
      return ['owlmq'];
    case 'kill-auditor':
      return ['auditor'];
    default:
      return [`${leg}-${publisher}`];
  }
}
