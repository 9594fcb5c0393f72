/** What a service embeds. What operates a migration is in `@owlmq/kafka-bridge/operations`. */
export {
  ConsumerStartError,
  ConsumerStopTimeoutError,
  DualConsumer,
  RoutingDoesNotCoverError,
  type DualConsumerOptions,
  type StopOptions,
} from './consumer/dual-consumer.js';
export type { ConsumedMessage } from './consumer/consumed-message.js';
export type { ConsumerStatus, PartitionStatus } from './consumer/consumer-status.js';
export type { DeterministicSources, MessageClock } from './consumer/deterministic-sources.js';
export { DeadLetterFailedError } from './consumer/dead-letters.js';
export { HandlerInterruptedError } from './consumer/handler-interrupted.js';
export type { HandlerContext, ProcessContext } from './consumer/handler-turn.js';
export { CommittedOffsetLostError, type KafkaConsumerOptions } from './consumer/kafka-side.js';
export {
  HandlerFailedError,
  type ApplyHandler,
  type FailureDecision,
  type HandlerFailure,
  type ProcessHandler,
} from './consumer/message-runner.js';
export { ObservationsLostError } from './consumer/observation-producer.js';
export { UncomparableOutputError } from './consumer/canonical-output.js';
export { DualPublisher, type BatchMessage } from './publisher/dual-publisher.js';
export type { PublishOptions, PublishResult } from './publisher/outgoing.js';
export {
  PublishAbortedError,
  PublishBatchError,
  PublishBufferFullError,
  PublisherClosedError,
  PublisherConfigError,
  PublisherFlushTimeoutError,
  PublishFailedError,
  PublishHeldTimeoutError,
  PublishInputError,
  PublishOutcomeUnknownError,
  type PublishError,
  type PublisherError,
  type Retriable,
} from './publisher/publisher-errors.js';
export type { PublisherEvent, PublisherStatus } from './publisher/publisher-events.js';
export type { CopyCount, LegRequest, PublisherMetrics, SettledCall } from './publisher/publisher-metrics.js';
export type { DualPublisherOptions } from './publisher/publisher-options.js';
export type { KafkaConnection } from './kafka/kafka-connection.js';
export { KafkaConnectError } from './kafka/replaceable-producer.js';
export type { Decommissioned } from './routing/final-state.js';
export type { RoutingState, TopicOffsets } from './routing/routing-state.js';
export type { OwlmqApi, PartitionOffset } from './owlmq/owlmq-api.js';
export { OwlmqClient, type OwlmqClientOptions } from './owlmq/owlmq-client.js';
export { RoutingUnavailableError } from './routing/routing-errors.js';
export {
  OwlmqConfigError,
  OwlmqError,
  OwlmqThrottledError,
  OwlmqUnauthorizedError,
  OwlmqUnreachableError,
} from './owlmq/owlmq-errors.js';
