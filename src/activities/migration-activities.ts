import type {
  AcknowledgedPattern,
  DiagnosisReport,
  DifferingFields,
  Finding,
  RoutingState,
  TopicOffsets,
  WatchedSpans,
} from '@owlmq/kafka-bridge/operations';
import type { CutoverHours, HookEvent, PreflightRequest as BridgePreflightRequest } from '@owlmq/kafka-bridge/playbook';

export type { DiagnosisReport, Finding };

/**
 * The steps of a migration as the workflow sees them. All are idempotent: one that is run again finds what the first
 * run did and completes it. Opaque checkpoints are JSON that only the activity reads.
 *
 * `src/activities` implements them on real systems; workflow tests implement them as a model.
 */
export interface MigrationActivities {
  /** Looks at both systems and the input, changes nothing, and lists everything that is in the way. */
  preflight(request: PreflightRequest): Promise<PreflightReport>;
  /** Creates what is missing: the bridge's own Kafka topics, and the topics in OwlMQ with as many partitions. */
  prepareTopics(request: { topics: Record<string, number> }): Promise<{ created: string[] }>;
  /** Writes a routing state. A higher epoch found there fails with type `EpochSuperseded`, not retried. */
  applyRouting(state: RoutingState): Promise<void>;
  /** Waits until every publisher has applied the epoch (and, when asked, holds with nothing in flight). */
  awaitPublishers(request: AwaitPublishersRequest): Promise<PublisherFleet>;
  /** Waits until every consumer of the groups has applied the epoch and is in the wanted state. */
  awaitConsumers(request: AwaitConsumersRequest): Promise<ConsumerFleet>;
  /** End offsets of all partitions on a leg. */
  legEnds(request: { leg: 'kafka' | 'owlmq'; topics: string[] }): Promise<TopicOffsets>;
  /** Where the log of observations ends now: taken before anybody reports, the comparison begins there. */
  observationEnds(): Promise<number[]>;
  /**
   * Waits until the groups have committed everything before the given offsets of a leg. Members that are counted out of
   * the fleet are put out of their groups, so that others take over; a group that nobody is left in is not waited for.
   *
   * @returns the highest commits of any of them, by partition: that alone by a worker of an earlier version.
   */
  awaitDrained(request: AwaitDrainedRequest): Promise<Drained | TopicOffsets>;
  /** Proves, and repairs where needed, that OwlMQ has every intended copy up to the offsets given or the end. */
  auditToOwlmq(request: AuditRequest): Promise<AuditOutcome>;
  /** Proves, and repairs where needed, that Kafka has everything that OwlMQ has, and forwards late Kafka writes. */
  auditToKafka(request: MirrorAuditRequest): Promise<AuditOutcome>;
  /** Audits to OwlMQ, and forwards foreign records, for a slice of time. Ends early when too many copies are missing. */
  watchAudit(request: WatchAuditRequest): Promise<WatchAuditReport>;
  /** Watches what publishers report for a slice of time. Ends early once a limit is broken for good. */
  watchFleet(request: WatchFleetRequest): Promise<FleetFigures>;
  /** Compares shadows with live consumers for a slice of time, in all partitions or some. Ends early on a discrepancy. */
  watchSoak(request: WatchSoakRequest): Promise<SoakReport>;
  /** Runs the two-way audit and checkpoints group positions for a slice of time. */
  watchWarm(request: WatchWarmRequest): Promise<WarmReport>;
  /** The named checks that decide whether a cutover may begin. */
  checkReadiness(request: ReadinessRequest): Promise<ReadinessCheck[]>;
  /** Tries everything of a rollback that changes nothing, and says what it would find and cost. */
  proveWayBack(request: WayBackRequest): Promise<WayBack>;
  /** Proves by a canary in a topic of the bridge's own that a leg takes writes and gives them back. */
  proveLeg(request: { migration: string; leg: 'kafka' | 'owlmq' }): Promise<{ roundTripMs: number }>;
  /** Translates the groups' positions from one leg to the other, imports them and reads them back. */
  moveOffsets(request: MoveOffsetsRequest): Promise<OffsetMove[]>;
  /**
   * Sets the Kafka positions that were noted last, or the given ones where none was or these are further: the way back
   * when OwlMQ is dead. Undefined is the answer of a worker of an earlier version, also in histories.
   */
  restoreKafkaOffsets(request: RestoreKafkaOffsetsRequest): Promise<RestoredOffsets | undefined>;
  /**
   * Calls a webhook, signed and under the same id again and again, until it answers with success or its time is over. One
   * that refuses fails with type `HookRefused`, one that does not answer in time with `HookTimedOut`; neither is retried.
   */
  callHook(request: CallHookRequest): Promise<HookAnswer>;
}

/** What the receiver of a webhook is told, but for `timeoutMs`, which is how long it is tried. */
export interface CallHookRequest {
  /** Name of the hook; the worker knows its address. */
  hook: string;
  migration: string;
  event: HookEvent;
  epoch: number;
  /** Number of the attempt at the cutover. */
  attempt: number;
  /** Groups that the hook stands for. */
  groups: string[];
  /** The leg that consumers are to stop on, or to go on with. */
  leg?: 'kafka' | 'owlmq';
  /** Offsets of the leg up to which consumers drain; absent: they stop where they are. */
  offsets?: TopicOffsets;
  /** What became of the groups' positions. */
  moves?: OffsetMove[];
  reason: string;
  /** ISO time at which the call is given up. */
  deadline: string;
  timeoutMs: number;
}

export interface HookAnswer {
  /** HTTP 202: done only when somebody confirms it. */
  accepted: boolean;
  status: number;
  /** Of the worker that answered. */
  attempts: number;
}

export interface PreflightRequest extends BridgePreflightRequest {
  /** Webhooks that will be called. */
  webhooks?: string[];
}

export interface PreflightReport {
  findings: Finding[];
  /** Partition count of each topic. */
  topics: Record<string, number>;
  /** Epoch of the migration's routing state; 0 when none was ever written. */
  epoch: number;
  /** Which of the migration's search attributes the Temporal namespace knows. */
  searchAttributes: string[];
}

export interface AwaitPublishersRequest {
  migration: string;
  epoch: number;
  /** Wait for fenced publishers: held, with nothing in flight on either leg. */
  fenced: boolean;
}

export interface PublisherFleet {
  /** Publishers that acknowledged the epoch. */
  acknowledged: number;
  /** Instances that have been silent past their lease, and so hold their publishes. */
  silent: string[];
  /** Longest hold of a `publish()` call that any of them saw at the last fence, ms. */
  longestHoldMs: number;
  /** Sums over publishers since their start. */
  kafkaMessages: number;
  owlmqMessages: number;
  dropped: number;
  backlog: number;
  degraded: string[];
}

export interface AwaitConsumersRequest {
  migration: string;
  epoch: number;
  groups: string[];
  state: 'live-kafka' | 'live-owlmq' | 'drained';
  /** Also wait for a running shadow in each group. */
  shadow: boolean;
}

export interface ConsumerFleet {
  groups: Record<string, { members: number; applied: number }>;
  silent: string[];
}

export interface AwaitDrainedRequest {
  /** Whose members may be counted out; absent of a workflow of an earlier version: all groups are waited for. */
  migration?: string;
  leg: 'kafka' | 'owlmq';
  groups: string[];
  offsets: TopicOffsets;
  /** Groups that must have no members on the leg any more. */
  stopped?: string[];
}

/** `commits[topic][partition]`, null where nothing was committed. */
export type Commits = Record<string, (number | null)[]>;

export interface Drained {
  /** The highest commits of any group, and the offsets asked for where these are higher. */
  furthest: TopicOffsets;
  /** Groups that have not come to the offsets and have no member any more that could, with where they stand. */
  behind: Record<string, Commits>;
}

/** Partitions by topic. Every topic is named, those without partitions too. */
export type Partitions = Record<string, number[]>;

export interface AuditRequest {
  migration: string;
  topics: string[];
  /** The part of the partitions to see to; absent: all. */
  partitions?: Partitions;
  /** Foreign records to copy, and the ratio in force. */
  forward?: { topics: string[]; ratio: number };
  /** Where the last audit ended; absent at the first. */
  checkpoint?: unknown;
  /** Where to begin without a checkpoint. */
  from?: TopicOffsets;
  /** Kafka offsets to prove; absent: the ends as they are when the activity begins. */
  until?: TopicOffsets;
  graceMs: number;
}

export interface WatchAuditRequest extends Omit<AuditRequest, 'until'> {
  sliceMs: number;
  /** Ends the slice once more copies are missing than may be in all of `withinMs` at the present rate. */
  alarm?: { share: number; withinMs: number };
}

export interface WatchAuditReport extends AuditOutcome {
  /** Whether the slice ended by its alarm. */
  alarmed: boolean;
}

export interface WatchFleetRequest {
  migration: string;
  epoch: number;
  sliceMs: number;
  /** How long a figure must stand, or a publisher be behind or cut off, to count, ms. */
  sustainedMs: number;
  /** Figures above which the slice ends: it has failed whatever comes. */
  limits: { copyFailures: number; latencyMs: number; backlog: number; oldestCopyMs: number };
}

/** What publishers reported over a stretch of time. Figures are the worst that lasted. */
export interface FleetFigures {
  /** How often somebody looked; 0: nothing is known. */
  looks: number;
  /** Publishers that reported within their lease, at the last look. */
  living: number;
  /** Those that stayed behind the epoch, and those that did not get copies to OwlMQ. */
  behind: string[];
  cutOff: string[];
  /** 99th percentile of OwlMQ's answers at the slowest publisher, ms; null when none was reported. */
  latencyMs: number | null;
  /** Copies that waited in one publisher, and the age of the oldest, ms; null when that was not reported. */
  backlog: number;
  oldestCopyMs: number | null;
  /** Copies that OwlMQ acknowledged to publishers, that they dropped, and requests that failed. */
  copies: number;
  dropped: number;
  failedRequests: number;
}

/** End offsets of both legs while publishers were held at the cutover. */
export interface Fences {
  kafka: TopicOffsets;
  owlmq: TopicOffsets;
}

export interface MirrorAuditRequest {
  migration: string;
  topics: string[];
  /** The part of the partitions to see to; absent: all. */
  partitions?: Partitions;
  /** Where the last audit ended; absent at the first, which begins at the fences. */
  checkpoint?: unknown;
  from: Fences;
  graceMs: number;
  /** Prove everything up to the present ends, with publishers fenced. */
  toEnd: boolean;
}

/** Figures of an audit, cumulative over its checkpoints. */
export interface AuditFigures {
  kafkaMessages: number;
  kafkaBytes: number;
  owlmqMessages: number;
  owlmqBytes: number;
  missing: number;
  repaired: number;
  inversions: number;
  /** Records of producers that do not use the library, and those among them that were copied to OwlMQ, by topic. */
  foreign: Record<string, number>;
  forwarded: Record<string, number>;
}

export interface AuditOutcome {
  checkpoint: unknown;
  figures: AuditFigures;
  /** Records seen in this run. */
  checked: number;
  /** How long ago, ms, this run passed the last foreign record; topics without one are absent. */
  foreignAgoMs: Record<string, number>;
}

export interface WatchSoakRequest {
  migration: string;
  topics: string[];
  groups: string[];
  latenessMs: number;
  sliceMs: number;
  comparison?: unknown;
  /** The part of the observations topic's partitions to compare; absent: all. */
  partitions?: number[] | undefined;
  /** Activities that this comparison is shared by; absent: one. */
  parts?: number;
  /** Where in the log of observations to begin without a checkpoint, by its partitions. */
  start: number[];
  /** Kafka offsets from which both sides report what they do. */
  from: TopicOffsets;
  /** End the slice at the first discrepancy: worth it only while there is clean time to lose. */
  endAtDiscrepancy: boolean;
  /** How long a group may go without a comparison before its time does not count, ms. */
  quietMs?: number;
  /** Time (Unix ms) up to which what was watched was counted already. */
  watchedFrom?: number;
  /** The time since the last slice does not count: somebody paused. */
  interrupted?: boolean;
  /** Discrepancies that are known and counted apart. */
  acknowledged?: AcknowledgedPattern[];
  /** Count how often which fields differ. */
  countFields?: boolean;
}

/** What became of the comparisons of a group, cumulative over checkpoints. */
export interface VerdictCounts {
  matched: number;
  missing: number;
  unexpected: number;
  different: number;
  reordered: number;
  failedLive: number;
  failedShadow: number;
  ignored: number;
  /** Came after they were judged missing or unexpected; absent in reports of earlier versions, as the next. */
  late?: number;
  /** Discrepancies of a pattern that was acknowledged, in place of their verdict. */
  acknowledged?: number;
}

export interface GroupComparison {
  counts: VerdictCounts;
  /** Where outputs differ, where it was asked for. */
  differing?: DifferingFields;
  /** Message time (ms) up to which both sides were compared; null while a side is missing. */
  comparedUpTo: number | null;
  /** Why nothing can be said, in words; empty when comparisons flow. */
  stalled: string[];
}

/** What a comparison says, of a part of it or of all its parts. Figures are cumulative over checkpoints. */
export interface ComparedSoFar {
  groups: Record<string, GroupComparison>;
  /** Time, ms, in which every group was compared on both sides and all of it was judged. Absent in the oldest reports. */
  watchedMs?: number;
  /** The comparison cannot be trusted any more and has to begin anew: why, in words. */
  lost?: string;
  /** The newest, capped; never payload values. */
  samples: DiscrepancySample[];
}

export interface SoakComparison extends ComparedSoFar {
  checkpoint: unknown;
  /** Why what was found could not be stored for `kafka-bridge discrepancies`, in words; absent when it was. */
  notStored?: string;
  /** What is likely behind the discrepancies of the part; only where there are new ones since the last report. */
  diagnosis?: DiagnosisReport;
  /** When this part was at work; in reports of earlier versions `watchedMs` stands in its place. */
  watched?: WatchedSpans;
}

export interface SoakReport {
  comparison: SoakComparison;
}

export interface DiscrepancySample {
  group: string;
  verdict: string;
  topic: string;
  id: string;
  /** JSON pointers of the fields that differ. */
  fields: string[];
  /** Message time, Unix ms; absent in reports of earlier versions, as the next are, which say where to look it up. */
  time?: number | undefined;
  partition?: number | undefined;
  kafka?: number | undefined;
  owlmq?: number | undefined;
  epoch?: number | undefined;
  handlerVersion?: { live?: string | undefined; shadow?: string | undefined } | undefined;
}

export interface WatchWarmRequest {
  migration: string;
  topics: string[];
  /** The part of the partitions to see to; absent: all. */
  partitions?: Partitions;
  groups: string[];
  graceMs: number;
  sliceMs: number;
  checkpoint?: unknown;
  from: Fences;
  /** Whether a rollback was blocked when the slice began: it ends early once that has changed for `alertAfterMs`. */
  blocked?: boolean;
  alertAfterMs?: number;
  /** What Kafka may lack, as it was known last. */
  mirror?: MirrorGap | undefined;
}

export interface WarmReport {
  audit: AuditOutcome;
  /** Absent in reports of earlier versions. */
  mirror?: MirrorGap;
  /**
   * Kafka positions of the groups on these partitions as last translated, for a rollback with OwlMQ dead; null when
   * that failed.
   */
  positions: GroupPosition[] | null;
  /** ISO time of the look at OwlMQ's commits. */
  positionsAt: string | null;
  /** Why a rollback would not be possible now; empty when it is. */
  rollbackBlockers: string[];
}

export interface GroupPosition {
  group: string;
  topic: string;
  partition: number;
  offset: number;
}

export interface RestoreKafkaOffsetsRequest {
  migration: string;
  /** Kafka offsets of the cutover's fence. */
  fence: TopicOffsets;
  /** Positions that are known without the notes, by group. */
  groups: Record<string, TopicOffsets>;
}

/** What positions were set, and what it costs. */
export interface RestoredOffsets {
  /** Records of Kafka behind the positions, over all groups: no more messages than these come again. */
  redeliveriesAtMost: number;
  /** ISO time of the notes; null when there were none. */
  positionsAt: string | null;
}

export interface ReadinessRequest {
  migration: string;
  topics: string[];
  groups: string[];
  /** Groups among them whose members report to nobody. */
  external?: string[];
  epoch: number;
  /** How much each group may lag for the window to be enough, records. */
  drainableLag: number;
  /** Publishers that must report. */
  minPublishers: number;
  /** When a window of this length, ms, may begin; absent: at any time. */
  hours?: CutoverHours | undefined;
  windowMs?: number;
}

export interface ReadinessCheck {
  name: string;
  ok: boolean;
  detail: string;
  todo: string;
  /** ISO time before which another look finds the same; absent where that is not known. */
  again?: string;
}

export interface WayBackRequest {
  migration: string;
  topics: string[];
  groups: string[];
  /** Groups that a hook stands for: their members report nothing. */
  external?: string[];
  from: Fences;
  /** Checkpoints of the two-way audit, of all its parts; empty before the first. */
  audited: unknown[];
  /** What Kafka may lack, as it was known last. */
  mirror: MirrorGap;
}

/** A check of the way back. */
export interface WayBackCheck extends ReadinessCheck {
  /**
   * What a rollback takes while it fails: `repair`, or it is refused; `force`, or it is refused; `attention`: it goes
   * back another way, and says so.
   */
  takes: 'repair' | 'force' | 'attention';
}

/** What a rollback would find. */
export interface WayBack {
  checks: WayBackCheck[];
  owlmqAnswers: boolean;
  /**
   * Acknowledged messages that Kafka would lack after a rollback by now, at the most, as publishers report it: 0 where
   * OwlMQ answers, from which they are repaired first.
   */
  lossAtMost: number;
  /** Messages that would come again, over all groups; null where that cannot be told, as with OwlMQ dead. */
  redeliveries: number | null;
}

/** What Kafka, as the mirror, may lack of what OwlMQ has acknowledged. */
export interface MirrorGap {
  /** A publisher gave up writing to Kafka, and the audit has not repaired all of it since. */
  incomplete: boolean;
  /** Messages on OwlMQ that the audit had not proven yet. */
  unproven: number;
  /** What publishers had counted as acknowledged by OwlMQ then: what came since may be missing too. */
  acknowledged: number;
}

export interface MoveOffsetsRequest {
  direction: 'to-owlmq' | 'to-kafka';
  topics: string[];
  groups: string[];
  fences: Fences;
  /** Checkpoints of the audit to Kafka: what it has proven needs no second look. */
  audited?: unknown[];
  /** Where to begin on partitions on which a group has no commit. */
  reset: 'earliest' | 'latest';
}

export interface OffsetMove {
  group: string;
  /** Partitions by verdict. */
  exact: number;
  bounded: number;
  /** Messages that will be delivered again. */
  redeliveries: number;
}
