import type { AcknowledgedPattern, RoutingState, TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { HookEvent, MigrationPlan } from '@owlmq/kafka-bridge/playbook';
import type {
  AuditFigures,
  DiagnosisReport,
  Drained,
  Fences,
  Finding,
  MirrorGap,
  OffsetMove,
  PublisherFleet,
  ReadinessCheck,
  WayBack,
  WayBackCheck,
} from '../activities/migration-activities.js';
import type { AuditShard } from './audit-shards.js';
import type { Leftover } from './leftovers.js';
import type { Noise } from './noise.js';
import type { RampAction, RampCounters } from './ramp.js';
import type { StepFigures, StepVerdict } from './ramp-gates.js';
import { newSoakClock, type SoakClock } from './soak-clock.js';

/** Phases in the order of the playbook, then the ways out of it. */
export const PHASES = [
  'preflight',
  'noise',
  'dual-write',
  'shadow-soak',
  'ready',
  'cutover',
  'warm',
  'decommission',
  'completed',
  'rolling-back',
  'rolled-back',
] as const;
export type Phase = (typeof PHASES)[number] | 'failed';

/** The step that blocks on what was measured. */
export const NOISE_STEP = 'handlers that differ from themselves';

/** What a routing state says beyond its envelope. */
export type RoutingContent = Pick<RoutingState, 'ratio' | 'primary' | 'mirror' | 'live' | 'shadow'> &
  Partial<Pick<RoutingState, 'drain' | 'shadowFrom' | 'fence'>>;

/** What a new routing state changes of the last; undefined takes a field away. */
export type RoutingChange = { [K in keyof RoutingContent]?: RoutingContent[K] | undefined };

/** Somebody's word, by signal or update. */
export interface Request {
  reason: string;
  by: string;
  /** ISO time at which the workflow took it. */
  at: string;
  /** Of a rollback: also with what Kafka lacks, and without members. */
  force?: boolean;
}

/** A signal or update that somebody sent, whether or not it changed anything. */
export interface Asked {
  /** Its name. */
  what: string;
  by: string;
  reason: string;
  /** ISO time at which the workflow took it. */
  at: string;
}

/** A step that failed for good until a person acts. */
export interface Blocked {
  step: string;
  cause: string;
  todo: string;
  since: string;
}

/** How a cutover went. */
export interface CutoverRecord {
  attempts: number;
  /** Hooks had their say before the next attempt. */
  agreed?: boolean;
  /** Set at the journal: from here the workflow rolls forward or goes back by the warm path. */
  journaledAt?: string;
  fences?: Fences;
  /** Kafka offsets up to which every group had consumed; below the fence where only some of them were further. */
  drained?: TopicOffsets;
  /** Where groups stood that nobody was left to drain; absent of cutovers by an earlier version. */
  behind?: Drained['behind'];
  moves?: OffsetMove[];
  /** Longest time that any publisher held a `publish()` call. */
  publisherHoldMs?: number;
  windowMs?: number;
  /** `publisherHoldMs`: absent where publishers could not be asked. */
  lastCancel?: { reason: string; at: string; errors: string[]; publisherHoldMs?: number };
  /** What publishers had counted as acknowledged by OwlMQ while they were held. */
  acknowledged?: number;
  /** What was proven behind the journal before the cutover was called done. */
  verification?: ReadinessCheck[];
}

/** A try of the way back. */
export interface WayBackRehearsal extends WayBack {
  at: string;
  tookMs: number;
}

/** A rollback that was not begun, since it would have failed or lost messages. */
export interface RefusedRollback extends Request {
  refusedAt: string;
  /** What has to be repaired, or accepted by force. */
  failed: WayBackCheck[];
  lossAtMost: number;
}

/** Where the ramp stands. */
export interface RampState {
  counters: RampCounters;
  /** What was seen so far of the step that is held. */
  step?: StepFigures;
  /** The last judgement, and the ratio that was judged. */
  last?: StepVerdict & { ratio: number; at: string };
  /** When and as what the present row of inconclusive verdicts began. */
  inconclusiveSince?: string;
  /** Newest last; capped. */
  lastActions: { at: string; ratio: number; action: RampAction['do']; why: string }[];
}

/** A pattern of discrepancies that does not set the soak back, and who answers for it. */
export interface Acknowledgement extends Request {
  /** Unique in the migration. */
  id: string;
  pattern: AcknowledgedPattern;
  revoked?: Request;
}

/** Records of producers without the library in one topic, since the start. */
export interface ForeignTopic {
  records: number;
  /** Those that the bridge copied to OwlMQ. */
  forwarded: number;
  /** ISO time of the last one. */
  lastAt: string;
}

/** A call of a hook, and what came of it. */
export interface HookRecord {
  hook: string;
  kind: 'webhook' | 'confirmation';
  event: HookEvent;
  /** `cancelled`: what it was called for was over first. */
  state: 'waiting' | 'done' | 'failed' | 'timed-out' | 'cancelled';
  /** ISO times of the call, and of when it is given up. */
  since: string;
  until: string;
  /** Who answered: the receiver of a webhook, or whoever confirmed. */
  by?: string;
  answer?: string;
}

/** What happened, newest last; capped. */
export interface LogEntry {
  at: string;
  text: string;
}

/** Everything a run knows. JSON-safe: it is handed over whole when the run continues as new. */
export interface MigrationState {
  phase: Phase;
  phaseSince: string;
  startedAt: string;
  partitions: Record<string, number>;
  searchAttributes: string[];
  findings: Finding[];
  epoch: number;
  routing: RoutingContent;
  /** `settled`: held for its interval and judged a success. */
  ratio: { wanted: number; acknowledged: number; settled: boolean };
  publishers?: PublisherFleet;
  /** Figures of the audit to OwlMQ before the cutover, of the two-way audit after it. */
  parity?: AuditFigures;
  /** Producers without the library, by topic. */
  foreign?: Record<string, ForeignTopic>;
  /** Kafka offsets where the audit to OwlMQ began. */
  auditFrom?: TopicOffsets;
  /** The audit to OwlMQ, by the parts that its activities do. */
  audits?: AuditShard[];
  /** Why the audit that runs beside the phases has stopped. `closed`: no further attempt mends it. */
  auditFailure?: { cause: string; since: string; closed: boolean };
  /** What handlers do differently by themselves, where it is measured. */
  noise?: Noise;
  ramp?: RampState;
  /** Kafka offsets from which every record has its copy in OwlMQ. */
  coverage?: TopicOffsets;
  soak: SoakClock;
  /** Of a comparison in one part, by an earlier version. */
  comparison?: unknown;
  /** Checkpoints of the comparison, by the parts that its activities do. */
  comparisons?: unknown[];
  /** Time (Unix ms) up to which what the comparison watched was counted. */
  watchedUpTo?: number;
  /** What is likely behind the discrepancies that were found last. */
  diagnosis?: DiagnosisReport & { at: string };
  /** Why the comparison could not store what it found, as of its last report. */
  notStored?: string;
  /** Somebody paused since the last slice of the comparison: the time between does not count. */
  soakInterrupted?: boolean;
  /** Discrepancies that somebody has acknowledged, oldest first, revoked ones among them. */
  acknowledgements?: Acknowledgement[];
  /** Where the log of observations ended before anybody reported to it. */
  observationsFrom: number[];
  verdicts: Record<
    string,
    { matched: number; discrepancies: number; comparedUpTo: string | null; acknowledged?: number; late?: number }
  >;
  readiness: ReadinessCheck[];
  /** Calls of hooks, newest last; capped. */
  hooks?: HookRecord[];
  /** Hooks that were told to hold or to stop and have not gone on since. */
  hooksToResume?: string[];
  cutover: CutoverRecord;
  warm?: {
    remainingMs: number;
    /** The two-way audit, by the parts that its activities do. */
    audits?: AuditShard[];
    positions: Record<string, TopicOffsets> | null;
    positionsAt: string | null;
    rollbackBlockers: string[];
    unavailableSince?: string;
    mirror?: MirrorGap;
    /** The last tries of the way back, oldest first. */
    rehearsals?: WayBackRehearsal[];
  };
  /** Ratio that a person asked for and that is not applied yet. */
  requestedRatio?: number;
  /** Publishers that do not use the library were told to stop writing to Kafka. */
  kafkaWritesStopped?: boolean;
  /** Set before publishers are told to stop writing to Kafka: from there on there is no way back. */
  decommissioned?: boolean;
  /** What may be deleted once the migration is over, and by which commands. */
  leftovers?: Leftover[];
  paused?: Request;
  /** The last rollback that was refused. */
  rollbackRefused?: RefusedRollback;
  rollback?: Request & {
    /** What was proven before anything was changed. */
    checks?: WayBackCheck[];
    /** Acknowledged messages that stay on OwlMQ alone, at the most; only of one that was forced. */
    lossAtMost?: number;
    redeliveries?: number;
    /** Where OwlMQ was dead: no more messages than these come again, over all groups. */
    redeliveriesAtMost?: number;
    from?: Phase;
    publisherHoldMs?: number;
    audits?: AuditShard[];
  };
  /** `noise`: to go on with the ramp whatever was measured. */
  approved: { cutover: boolean; decommission: boolean; noise?: boolean };
  blocked?: Blocked;
  /** What the run waits for, in words, and until when. */
  waiting?: { for: string; until?: string };
  /** What people should know though nothing is blocked, and since when. */
  attention?: { what: string; since: string };
  unknownSignals: string[];
  /** Newest last. */
  asked?: Asked[];
  log: LogEntry[];
}

export function newMigrationState(now: string): MigrationState {
  return {
    phase: 'preflight',
    phaseSince: now,
    startedAt: now,
    partitions: {},
    searchAttributes: [],
    findings: [],
    epoch: 0,
    routing: { ratio: 0, primary: 'kafka', mirror: true, live: 'kafka', shadow: 'off' },
    ratio: { wanted: 0, acknowledged: 0, settled: false },
    soak: newSoakClock(),
    verdicts: {},
    observationsFrom: [],
    readiness: [],
    cutover: { attempts: 0 },
    approved: { cutover: false, decommission: false },
    unknownSignals: [],
    log: [],
  };
}

/** What a run carries over when it continues as new. */
export interface CarriedOver {
  plan: MigrationPlan;
  state: MigrationState;
}
