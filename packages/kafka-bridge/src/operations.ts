/** What the worker and tools need to operate a migration. What a service embeds is in `@owlmq/kafka-bridge`. */
export {
  AuditCheckpointError,
  AuditPartitionsError,
  AuditPositionLostError,
  AuditRepairError,
  LogReadStalledError,
  throwAll,
} from './audit/audit-errors.js';
export {
  mergeForwardCheckpoints,
  mergeMirrorCheckpoints,
  splitForwardCheckpoint,
  splitMirrorCheckpoint,
  type ForwardCheckpoint,
  type ForwardFigures,
  type MirrorCheckpoint,
  type MirrorFigures,
} from './audit/checkpoints.js';
export { eachLimited } from './audit/each-limited.js';
export {
  ForwardAudit,
  type AuditReport,
  type ForwardAuditOptions,
  type ForwardStepOptions,
} from './audit/forward-audit.js';
export {
  MirrorAudit,
  type MirrorAuditOptions,
  type MirrorReport,
  type MirrorStepOptions,
} from './audit/mirror-audit.js';
export { parityRates, type FiguresByTopic, type LegRate, type Parity } from './audit/parity.js';
export { importToKafka, importToOwlmq, OffsetsRefusedError, type ImportReport } from './offsets/import.js';
export {
  cutoverId,
  furthest,
  PositionWriter,
  readLastPositions,
  withRecordsBehind,
  type KafkaPosition,
  type LastPositions,
} from './offsets/position-log.js';
export { bypassingMembers } from './groups/bypassing-members.js';
export { kafkaGroups, owlmqGroups, type GroupStanding } from './groups/group-standing.js';
export { kafkaSide, owlmqSide, type Side } from './groups/sides.js';
export { OffsetSyncWriter, readOffsetSyncs, type OffsetSyncWriterOptions } from './offsets/sync-log.js';
export type { OffsetSyncs } from './offsets/offset-syncs.js';
export type { GroupTranslation, TranslateOptions } from './offsets/translate-options.js';
export { translateToKafka, type TranslateToKafkaOptions } from './offsets/translate-to-kafka.js';
export { translateToOwlmq, type TranslateToOwlmqOptions } from './offsets/translate-to-owlmq.js';
export type { OffsetReset, OffsetTranslation } from './offsets/translation.js';
export { ClusterAdmin, KafkaGroupNotEmptyError, OffsetReadBackError, type KafkaGroup } from './kafka/cluster-admin.js';
export {
  LogReader,
  LogUnavailableError,
  OffsetOutOfRangeError,
  UnknownTopicError,
  type LogCallOptions,
  type PartitionBounds,
} from './kafka/log-reader.js';
export type { LogRecord } from './kafka/log-record.js';
export { nextOpening } from './playbook/next-opening.js';
export type { Finding } from './preflight/finding.js';
export { preflight } from './preflight/preflight.js';
export { readProvenance } from './message/headers.js';
export { parsePartitionName } from './message/partition-name.js';
export { isFinal, type RoutingState, type TopicOffsets } from './routing/routing-state.js';
export { comparisonCheckpointSchema, type ComparisonCheckpoint } from './comparator/comparator.js';
export type { DifferingFields } from './comparator/differing-fields.js';
export type { DiscrepancySample } from './comparator/samples.js';
export type {
  AcknowledgedPattern,
  ComparisonCounts,
  DiscrepancyVerdict,
  PairwiseCompare,
} from './comparator/verdicts.js';
export {
  ObservationComparison,
  observationEnds,
  ObservationsReplacedError,
  type ComparisonReport,
  type ComparisonStepOptions,
  type GroupComparison,
  type ObservationComparisonOptions,
} from './comparator/observation-log.js';
export type { Span, WatchedSpans } from './comparator/watched-time.js';
export { comparisonId } from './comparator/verdict-record.js';
export { diagnoseFindings, type DiagnosisReport } from './comparator/evidence.js';
export { VerdictWriter } from './comparator/verdict-log.js';
export { observationSchema, OBSERVATIONS_TOPIC, type Observation, type ObservingSide } from './consumer/observation.js';
export { ObservationProducer, ObservationsLostError } from './consumer/observation-producer.js';
export { childPointer, parsePointer } from './consumer/json-pointer.js';
export { OutputDigester } from './consumer/output-digest.js';
export { tellError, tellOutput } from './consumer/told-outcome.js';
export { UncomparableOutputError } from './consumer/canonical-output.js';
export { bounded, pause, unlessAborted } from './async/bounded.js';
export { rootMessages } from './async/causes.js';
export { newInstanceId } from './members/instance-id.js';
export { CanaryLostError, proveKafka, proveOwlmq } from './kafka/canary.js';
export { keepFinalState } from './routing/final-state.js';
export { RoutingWriter } from './routing/routing-writer.js';
export { EpochSupersededError } from './routing/routing-errors.js';
export { RoutingBoard, RoutingBoardUnavailableError, type BoardEntry } from './routing/routing-board.js';
export { RoutingFollower } from './routing/routing-follower.js';
export { httpMember } from './members/http-member.js';
export { MemberRelay, ReportNotTakenError } from './members/member-relay.js';
export { MemberReporter } from './members/member-reporter.js';
export {
  isCountedOut,
  isLiving,
  MemberRoster,
  RosterUnavailableError,
  type RosterEntry,
} from './members/member-roster.js';
export type { ConsumerReport, MemberReport, PublisherReport } from './members/member-report.js';
export { OwlmqClient } from './owlmq/owlmq-client.js';
export type { OwlmqApi } from './owlmq/owlmq-api.js';
export { parseRetryAfter } from './owlmq/retry-after.js';
export { OwlmqGroupNotEmptyError } from './owlmq/owlmq-errors.js';
export type { KafkaConnection } from './kafka/kafka-connection.js';
export { kafkaFromSettings, owlmqFromSettings, secretFromSettings } from './environment/connection-settings.js';
