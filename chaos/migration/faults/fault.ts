import { deal } from '../../faults/deck.js';
import type { PlannedFault } from '../../faults/injector.js';
import { linkFaultKinds } from '../../faults/link-faults.js';
import type { Pace } from '../pace.js';

/** Every way in which the harness breaks something, beside those of links. */
export const faultKinds = [
  'kill-producer',
  /** SIGSTOP, and SIGCONT later: past the lease when it lasts. */
  'freeze-producer',
  'kill-java-producer',
  'kill-consumer',
  'freeze-consumer',
  'kill-worker',
  'freeze-worker',
  /** SIGKILL of the broker, and a start on the same data. */
  'restart-kafka',
  'freeze-kafka',
  'restart-owlmq',
  'freeze-owlmq',
  /** No file of OwlMQ may grow: what writes fails as on a full disk. Whatever ends is started anew, while it is full too. */
  'owlmq-disk-full',
  'restart-temporal',
  ...linkFaultKinds,
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** One fault, as the seed has it. */
export interface Fault extends PlannedFault<FaultKind> {
  /** Name of a member, where it is one that is broken, or whose link is. */
  readonly member: string;
  readonly leg: 'kafka' | 'owlmq';
  readonly lastsMs: number;
  readonly deadMs: number;
  /** From 0 to 1: how strong it is, where that means something. */
  readonly strength: number;
}

/** Who may be broken by a kind. */
type Candidates = Readonly<Record<'producer' | 'java-producer' | 'consumer' | 'worker', readonly string[]>>;

export interface FaultPlan {
  readonly seed: number;
  readonly pace: Pace;
  readonly members: Candidates;
  /** Kinds that this machine cannot do. */
  readonly without: readonly FaultKind[];
  readonly most?: number | undefined;
}

/** Faults, up to a number. */
export function* faults({ seed, pace, members, without, most }: FaultPlan): Generator<Fault> {
  const kinds = faultKinds.filter((kind) => !without.includes(kind));
  for (const { index, kind, random } of deal(seed, kinds, most)) {
    const member = random.pick(candidates(kind, members));
    yield {
      ...{ index, kind, member },
      // The one without the library knows Kafka alone.
      leg: random.share() < 0.5 || members['java-producer'].includes(member) ? 'kafka' : 'owlmq',
      ...{ gapMs: random.within(pace.gapMs), lastsMs: random.within(pace.faultMs), deadMs: random.within(pace.deadMs) },
      strength: random.share(),
    };
  }
}

function candidates(kind: FaultKind, members: Candidates): readonly string[] {
  for (const name of ['java-producer', 'producer', 'consumer', 'worker'] as const) {
    if (kind.endsWith(`-${name}`)) return members[name];
  }
  return Object.values(members).flat();
}

/** What a fault has to itself: two faults never break the same thing at once. */
export function resourcesOf({ kind, member, leg }: Fault): string[] {
  switch (kind) {
    case 'restart-kafka':
    case 'freeze-kafka':
      return ['kafka'];
    case 'restart-owlmq':
    case 'freeze-owlmq':
    case 'owlmq-disk-full':
      return ['owlmq'];
    case 'restart-temporal':
      return ['temporal'];
    case 'kill-producer':
    case 'freeze-producer':
    case 'kill-java-producer':
    case 'kill-consumer':
    case 'freeze-consumer':
    case 'kill-worker':
    case 'freeze-worker':
      return [member];
    default:
      return [`${member}/${leg}`];
  }
}
