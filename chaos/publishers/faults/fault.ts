import { deal } from '../../faults/deck.js';
import type { PlannedFault } from '../../faults/injector.js';
import { linkFaultKinds } from '../../faults/link-faults.js';
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
  ...linkFaultKinds,
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** One fault, as the seed has it. */
export interface Fault extends PlannedFault<FaultKind> {
  readonly publisher: number;
  readonly leg: 'kafka' | 'owlmq';
  readonly lastsMs: number;
  readonly deadMs: number;
  /** From 0 to 1: how strong it is, where that means something. */
  readonly strength: number;
}

/** Faults, up to a number; the auditor's only where there is one. */
export function* faults(
  seed: number,
  publishers: number,
  pace: Pace,
  audited: boolean,
  most?: number,
): Generator<Fault> {
  for (const { index, kind, random } of deal(seed, faultKinds, most)) {
    if (kind === 'kill-auditor' && !audited) continue;
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
